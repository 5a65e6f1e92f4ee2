# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter shared_codes."""

from __future__ import annotations

import collections
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = """
name: shared_codes
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: The codes that so many hosts say that the cause is probably not on the hosts
description:
  - Counts the codes of broken paths by host, among the hosts that answered.
positional: _input, share, hosts
options:
  _input:
    description: What M(netpath.egress.egress_repair) returned on each host.
    type: list
    elements: dict
    required: true
  share:
    description: The share of hosts, from 0 to 1, that may say the same code.
    type: float
    required: true
  hosts:
    description: How many hosts have to say it at least.
    type: int
    default: 3
"""

EXAMPLES = """
- name: Stop where most hosts say the same
  ansible.builtin.assert:
    that: ansible_play_hosts | map('extract', hostvars, 'look') | netpath.egress.shared_codes(0.5) | length == 0
"""

RETURN = """
_value:
  description: One line for each such code, the most frequent first, such as V(FORWARDING_OFF on 5 of 8 hosts).
  type: list
  elements: str
"""


def shared_codes(results: t.Any, share: t.Any, hosts: t.Any = 3) -> list[str]:
    """Errors: AnsibleFilterError."""
    try:
        least, limit = int(hosts), float(share)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"shared_codes: {error}") from error
    if not 0 <= limit <= 1:
        raise AnsibleFilterError(f"shared_codes: share {limit:g} is not from 0 to 1")
    answers = [result["before"] for result in results if "before" in result]
    counts: collections.Counter[str] = collections.Counter()
    for verdicts in answers:
        counts.update({verdict["code"] for verdict in verdicts if verdict["status"] == "broken"})
    alike = [(code, n) for code, n in counts.most_common() if n >= least and n > limit * len(answers)]
    return [f"{code} on {number} of {len(answers)} hosts" for code, number in alike]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"shared_codes": shared_codes}
