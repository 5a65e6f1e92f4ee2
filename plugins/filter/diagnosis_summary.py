# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter diagnosis_summary."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import fleet

DOCUMENTATION = """
name: diagnosis_summary
version_added: 0.1.0
author: netpath.egress contributors (@netpath)
short_description: What many hosts have told of their paths, for a person to read
description:
  - Lists what is broken first, each kind of failure with how many paths and hosts have it, what proves it and what
    puts it right. All healthy paths are one line.
positional: _input
options:
  _input:
    description: For each host the verdicts of M(netpath.egress.egress_check), or none where it told nothing.
    type: dict
    required: true
"""

EXAMPLES = """
- name: Show what is wrong on all hosts
  ansible.builtin.debug:
    msg: "{{ verdicts_of_hosts | netpath.egress.diagnosis_summary }}"
  run_once: true
"""

RETURN = """
_value:
  description: The text, of several lines.
  type: str
"""


def diagnosis_summary(hosts: t.Any) -> str:
    """Text of several lines."""
    return fleet.summary(hosts)


class FilterModule:
    """Filters of this file, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"diagnosis_summary": diagnosis_summary}
