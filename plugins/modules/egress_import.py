#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_import
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Describe the namespaces behind bridges that a host has as networks
description:
  - Reads bridges, the namespaces with names behind them, addresses, default routes, source translation, published
    ports, resolvers and limits, whoever made them, and returns what would be written in C(egress_networks).
  - Only what is not the default is in it. What has no place in a network is in RV(notes).
  - It changes nothing, and takes nothing over. See C(docs/import.md) for what to do with the result.
requirements:
  - pyroute2 >= 0.7.2
notes:
  - Rules are read where addresses are translated, of nftables and of both kinds of iptables. What filters packets is
    not described, as M(netpath.egress.egress_path) asks the filters of a host itself.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.info
"""

EXAMPLES = r"""
- name: Read what is there
  netpath.egress.egress_import:
  register: imported

- name: Show what has no place in a network
  ansible.builtin.debug:
    var: imported.notes
"""

RETURN = r"""
egress_networks:
  description: The networks, in the form of O(netpath.egress.egress_path#module:networks).
  returned: success
  type: list
  elements: dict
  sample:
    - name: br0
      bridge: br0
      subnets: [10.22.33.0/24]
      uplink: eth0
      namespaces: [a, b]
notes:
  description: What was seen and is not described.
  returned: success
  type: list
  elements: dict
  contains:
    about:
      description: What it is about.
      type: str
      sample: namespace web
    seen:
      description: What is there.
      type: str
      sample: "it has 2 links: eth0, eth1"
    reason:
      description: Why it has no place in a network.
      type: str
      sample: a namespace of a network has one link, beside its loopback
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._module import fail, require_pyroute2


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    require_pyroute2(module)
    from ansible_collections.netpath.egress.plugins.module_utils._engine.description import description

    try:
        found = description.description()
    except EgressError as error:
        fail(module, error)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
