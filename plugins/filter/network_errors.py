# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter network_errors."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.plugin_utils._networks import checked, plain

DOCUMENTATION = """
name: network_errors
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: What is wrong with networks, before any host is asked
description:
  - Checks the networks as the playbook C(netpath.egress.plan) and all modules that take networks do, and returns each
    error as a sentence, with the key, its value and what is allowed.
positional: _input
options:
  _input:
    description: The networks, as in the variable C(egress_networks) of the role P(netpath.egress.egress#role).
    type: raw
    required: true
  absent:
    description: Whether all networks are to be removed, whatever their C(state).
    type: bool
    default: false
seealso:
  - plugin: netpath.egress.module_options
    plugin_type: filter
    description: What networks are for each module.
"""

EXAMPLES = """
- name: The inventory is right
  ansible.builtin.assert:
    that: errors | length == 0
    fail_msg: "{{ errors | join('; ') }}"
  vars:
    errors: "{{ egress_networks | netpath.egress.network_errors }}"
"""

RETURN = """
_value:
  description: The errors, none where a run would accept the networks.
  type: list
  elements: str
"""


def network_errors(networks: t.Any, absent: bool = False) -> list[str]:
    _networks, errors = checked(plain(networks), absent)
    return [str(error) for error in errors]


class FilterModule:
    """Filters of this file, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"network_errors": network_errors}
