# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Selecting findings by a JMESPath expression. No I/O."""

from __future__ import annotations

import typing as t

from .findings import KEYS, Data


class QueryError(Exception):
    """The expression is wrong, or cannot be evaluated here; its text says what to do."""


def select(findings: t.Sequence[Data], query: str, always: t.Collection[str] = ()) -> list[Data]:
    """The findings that the expression selects; all of them without one. Errors: QueryError.

    always: codes of those that are kept, unless the expression speaks of the code.
    """
    if not query.strip():
        return list(findings)
    try:
        import jmespath
    except ImportError as error:
        raise QueryError(
            "a query was given, and the Python package jmespath is not installed on the controller. Install it "
            "for the Python that runs Ansible (pip install jmespath), or give no query"
        ) from error
    try:
        found = jmespath.search(str(query), list(findings))
    except (jmespath.exceptions.JMESPathError, TypeError, ValueError, RecursionError) as error:
        # The second line of its messages is the expression with a caret below.
        reason = str(error).split("\n", 1)[0].rstrip(":")
        raise QueryError(f"the query {query!r} is wrong: {reason}. {_HINT}") from error
    known = {id(one) for one in findings}
    if not isinstance(found, list) or not all(id(one) in known for one in found):
        raise QueryError(f"the query {query!r} gives {_shape(found)} instead of a list of findings. {_HINT}")
    # In its own order, before which stands what nobody asked for.
    chosen = {id(one) for one in found}
    return [one for one in findings if id(one) not in chosen and _is_kept(one["code"], always, query)] + found


def _is_kept(code: str | None, always: t.Collection[str], query: str) -> bool:
    return code in always and str(code) not in query


_HINT = f"It selects from a list of objects with {', '.join(KEYS)}, such as [?code=='FORWARDING_OFF']"


def _shape(value: t.Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list of something else"
    return {"dict": "one object", "str": "a text", "bool": "a truth value"}.get(type(value).__name__, "a number")
