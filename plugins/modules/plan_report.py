#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_report
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Show on the controller what the networks of many hosts would be
description:
  - Shows for each host its networks, bridges, subnets, gateways, namespaces with their addresses, published ports,
    uplinks and source translation, as M(netpath.egress.egress_path) would build them on a host where nothing is built.
  - Tells all that is wrong with the networks of all hosts, and which networks without source translation overlap.
  - Writes the same as JSON, and as a drawing.
  - It runs on the controller and contacts no host. Run it once a play (C(run_once)), with the strategy linear.
  - It does not fail for what it finds. RV(failing) says for which hosts a play should.
options:
  hosts:
    description: The hosts whose networks are put together.
    type: list
    elements: str
    required: true
  result:
    description:
      - The name of the variable in which C(ansible.builtin.set_fact) of the networks was registered on each host.
      - A host on which that failed is refused, with the reason.
    type: str
    required: true
  fact:
    description: The name of the fact that was set to the networks.
    type: str
    required: true
  directory:
    description:
      - A folder on the controller for C(plan.json) and C(plan.svg). It is made if it is missing, and each file is
        replaced as a whole. Relative paths begin where C(ansible-playbook) was started.
      - They are written in check mode too, since they are what was asked for, and no state of a host.
      - Empty for no files.
    type: str
    default: ""
notes:
  - Addresses V(auto) are those of a host on which nothing is built. A namespace that is there keeps what it has.
  - What only the host can tell is not looked at, such as whether it has that uplink, or uses the subnet itself.
extends_documentation_fragment:
  - netpath.egress.egress.controller
"""

EXAMPLES = r"""
- name: Read the networks of this host
  ansible.builtin.set_fact:
    planned: "{{ egress_networks }}"
  register: read
  ignore_errors: true

- name: Show what would be built
  netpath.egress.plan_report:
    hosts: "{{ ansible_play_hosts_all }}"
    result: read
    fact: planned
    directory: plan
  register: plan
  run_once: true

- name: Stop where something is refused
  ansible.builtin.fail:
    msg: "{{ plan.failing[inventory_hostname] | join('; ') }}"
  when: inventory_hostname in plan.failing
"""

RETURN = r"""
lines:
  description: What was shown, line by line.
  returned: success
  type: list
  elements: str
failing:
  description: For each host whose networks would be refused, all that is wrong with them.
  returned: success
  type: dict
  sample: {web1: ["networks[0].subnets[0]: '10.22.33.7/24' is no network; did you mean 10.22.33.0/24?"]}
overlaps:
  description: Networks without source translation whose subnets are used twice, in words.
  returned: success
  type: list
  elements: str
files:
  description: The paths of what was written.
  returned: success
  type: list
  elements: str
  sample: [/srv/plan/plan.json, /srv/plan/plan.svg]
"""
