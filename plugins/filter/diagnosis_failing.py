# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter diagnosis_failing."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import fleet

DOCUMENTATION = """
name: diagnosis_failing
version_added: 0.1.0
author: netpath.egress contributors (@netpath)
short_description: The hosts whose paths are as bad as a threshold, or worse
description:
  - Names the hosts for which a play should fail.
  - A host that told nothing is one of them, unless the threshold is never.
positional: _input, threshold
options:
  _input:
    description: For each host the verdicts of M(netpath.egress.egress_check), or none where it told nothing.
    type: dict
    required: true
  threshold:
    description: The status that is bad enough.
    type: str
    choices: [broken, degraded, unknown, never]
    default: broken
"""

EXAMPLES = """
- name: Fail if a path is broken
  ansible.builtin.assert:
    that: verdicts_of_hosts | netpath.egress.diagnosis_failing('broken') | length == 0
"""

RETURN = """
_value:
  description: Names of hosts.
  type: list
  elements: str
"""

_THRESHOLDS = ("broken", "degraded", "unknown", "never")


def diagnosis_failing(hosts: t.Any, threshold: t.Any = "broken") -> list[str]:
    """Names of hosts. Errors: AnsibleFilterError for another threshold."""
    if threshold not in _THRESHOLDS:
        raise AnsibleFilterError(
            f"diagnosis_failing: {threshold!r} is no threshold; allowed are {', '.join(_THRESHOLDS)}"
        )
    return fleet.failing(hosts, threshold)


class FilterModule:
    """Filters of this file, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"diagnosis_failing": diagnosis_failing}
