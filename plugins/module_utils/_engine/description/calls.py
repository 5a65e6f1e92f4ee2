# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of chains that call each other, in the order in which a packet meets them."""

from __future__ import annotations

import typing as t

from .rule import Chain, Rule

_DEEPEST = 8  # chains that call each other


class Step(t.NamedTuple):
    """What one rule is. verb: jump, goto, return, or anything else. target: the chain that it calls."""

    rule: Rule
    verb: str = ""
    target: str = ""


# A rule with the conditions of what leads to it.
Reader = t.Callable[[Rule], Step]
# The rules of a chain by its name: the text of each, and what reads it.
Listed = t.Callable[[str], t.Iterable[tuple[str, Reader]]]


def of_base(chain: str, listed: Listed, start: Rule, name: Chain) -> list[Rule]:
    """What a packet meets from a chain on that the kernel calls."""
    given = start.within(chain=name, ends=name)
    return list(_met(chain, listed, given, given, 0))


def _met(chain: str, listed: Listed, given: Rule, back: Rule, depth: int) -> t.Iterator[Rule]:
    """given: conditions since the base chain, which accept ends. back: those since the chain that return ends."""
    for text, read in listed(chain):
        step = read(given.within(text=text))
        if step.target and depth < _DEEPEST:
            called = (*given.chain, f"{text} {step.target}")
            inner = step.rule.within(action="", chain=called)
            returned = Rule(text, chain=called, ends=called)
            if step.verb == "goto":
                returned = read(back.within(text=text)).rule.within(action="", chain=called)
            yield from _met(step.target, listed, inner, returned, depth + 1)
            if step.verb == "goto":
                yield returned.within(action="pass", chain=given.chain)
        elif step.verb == "return":
            yield read(back.within(text=text)).rule
        elif step.rule.action:
            yield step.rule
