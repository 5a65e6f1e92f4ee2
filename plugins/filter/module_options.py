# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter module_options."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import expansion
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView
from ansible_collections.netpath.egress.plugins.plugin_utils._networks import checked, in_words, plain

DOCUMENTATION = """
name: module_options
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Expand egress_networks into the options of the modules that build them
description:
  - Checks the networks, gives each namespace its addresses, and returns lists for the option C(config) of each module,
    so that one task a module builds a whole host.
  - Namespaces keep the addresses that they have on the host, as far as these fit.
positional: _input, info
options:
  _input:
    description: The networks, as in the variable C(egress_networks) of the role P(netpath.egress.egress#role).
    type: list
    elements: dict
    required: true
  info:
    description:
      - What M(netpath.egress.egress_info) returned on the host, with at least namespaces, links and uplinks.
      - With routes too, those that a network no longer needs are removed.
    type: dict
    required: true
  absent:
    description: Whether all networks are to be removed, whatever their C(state).
    type: bool
    default: false
"""

EXAMPLES = """
- name: Look at the host
  netpath.egress.egress_info:
    gather: [namespaces, links, uplinks, routes]
  register: host

- name: Show what would be asked of the module netns
  ansible.builtin.debug:
    msg: "{{ (networks | netpath.egress.module_options(host)).netns }}"
  vars:
    networks:
      - name: pods
        subnets: [10.22.33.0/24]
        namespaces: [ns1, ns2]
"""

RETURN = """
_value:
  description:
    - A mapping with the keys C(netns), C(linux_bridge), C(veth), C(ns_route), C(sysctl_forward),
      C(nat_masquerade) and C(forward_accept).
    - Each value is a list of that module's options.
  type: dict
"""


def module_options(networks: t.Any, info: t.Mapping[str, t.Any], absent: bool = False) -> expansion.ModuleOptions:
    """Networks to options of modules. Errors: AnsibleFilterError with the offending key."""
    given = plain(networks)
    _networks, errors = checked(given, absent)
    if errors:
        raise AnsibleFilterError(in_words(errors))
    try:
        return expansion.module_options(given, HostView.from_info(info), absent=absent)
    except EgressError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"module_options": module_options}
