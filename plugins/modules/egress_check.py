#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_check
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Name the hop at which packets of namespaces stop, and why
description:
  - Looks at the path of every namespace of the networks in packet order, and then sends one packet along it that is
    watched on every link.
  - The first broken hop is the verdict. All findings are listed, each with what proves it and what puts it right.
  - Namespaces that nobody described are checked as well, by O(netns), O(pid) or O(all). What is meant to be is then
    what the kernel has, such as the bridge that the other end of its link is on.
  - What it adds to see more, it takes away again, such as a rule by which the kernel tells who drops a packet.
  - It needs no program besides C(nft) and C(iptables) where those filter, and runs in check mode too.
  - It does not fail for what it finds.
options:
  networks:
    required: false
    default: []
  netns:
    description: Names of namespaces below C(/run/netns) to check as they are.
    type: list
    elements: str
    default: []
  pid:
    description: Processes whose namespaces to check as they are, such as one of a container.
    type: list
    elements: int
    default: []
  all:
    description:
      - Whether to check all other namespaces of the host as they are, those with a name, and of those that only
        processes hold the ones that a pair of links leads to.
      - One that has nothing but a loopback is V(unknown).
    type: bool
    default: false
  targets:
    description:
      - Where to send packets, of either family or both, such as V(198.51.100.80), V(tcp://198.51.100.80:443) or
        V(udp://[2001:db8::1]:53). Without a protocol it is an echo request, or TCP where there is a port.
      - A refused connection is an answer.
      - For a family without targets, it is the gateway of the host's best default route, unless that is link-local.
        Then nothing is sent, and a path that looks right is V(unknown).
      - A gateway that answers no ping, not even the host's own, and is there as a neighbour, leaves it V(unknown), too.
    type: list
    elements: str
    default: []
  probe:
    description: Whether to send packets. Without, what looks right is V(unknown).
    type: bool
    default: true
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.networks
  - netpath.egress.egress.info
"""

EXAMPLES = r"""
- name: Check the path of each namespace
  netpath.egress.egress_check:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
        namespaces: [ns1, ns2, ns3]
    targets: [198.51.100.80, "2001:db8:51::80"]
  register: path

- name: Check all namespaces of the host, whoever made them
  netpath.egress.egress_check:
    all: true

- name: Stop if one is broken
  ansible.builtin.assert:
    that: path.verdicts | selectattr('status', 'equalto', 'broken') | length == 0
    fail_msg: "{{ path.verdicts | selectattr('status', 'equalto', 'broken') | map(attribute='summary') | join('; ') }}"
"""

RETURN = r"""
verdicts:
  description: One for each namespace and family.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: Its name, or the process that holds it.
      type: str
    network:
      description: The network that it belongs to, empty where nobody described it.
      type: str
    family:
      description: V(ipv4) or V(ipv6).
      type: str
    status:
      description:
        - V(ok) where packets were there and back, V(broken) where they were not.
        - V(degraded) where they were, or may be, and something is wrong all the same.
        - V(unknown) where nothing seems wrong, and nothing was sent, or to somebody who may keep silent.
      type: str
    code:
      description: What is wrong first, such as V(FORWARDING_OFF), or none.
      type: str
    hop:
      description: The hop where that is, of those in RV(verdicts[].hops), or none.
      type: str
    direction:
      description: V(out) for the way to the target, V(return) for the way back, or none.
      type: str
    summary:
      description: The verdict in one line.
      type: str
    evidence:
      description: What proves it.
      type: list
      elements: str
    fix:
      description: What puts it right, or none.
      type: str
    tier:
      description:
        - Who may do so. V(auto) for objects of ours, V(declared) for settings of the host that the networks ask for,
          V(confirm) for what is to be asked for by name, V(advise) for what a person does.
        - Of a namespace that no network describes it is V(advise), and RV(verdicts[].fix) a command for the host.
      type: str
    findings:
      description: All that is wrong, each with its code, hop, direction, evidence, fix and tier.
      type: list
      elements: dict
    hops:
      description:
        - Each hop in packet order, as C(hop), C(status) and C(evidence).
        - The status is V(ok), V(broken), V(not_reached) or V(unknown).
      type: list
      elements: dict
    links:
      description:
        - The links in packet order, with C(hop), C(netns) (empty for the host), C(name), C(mtu), C(up), C(addresses)
          and their counters C(rx_packets), C(tx_packets), C(rx_errors), C(tx_errors), C(rx_dropped) and C(tx_dropped).
      type: list
      elements: dict
    targets:
      description: Where packets were sent, or would have been.
      type: list
      elements: str
  sample:
    - namespace: ns1
      network: pods
      family: ipv4
      status: broken
      code: FORWARDING_OFF
      hop: host_forwarding
      direction: out
      summary: "ns1 (IPv4): the host does not forward IPv4"
      evidence: ["net.ipv4.ip_forward = 0"]
      fix: run the role egress
      tier: declared
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import network, path
from ansible_collections.netpath.egress.plugins.module_utils._module import fail, require_pyroute2


def main() -> None:
    options = {
        "networks": {**path.OPTIONS["networks"], "required": False, "default": []},
        "netns": {"type": "list", "elements": "str", "default": []},
        "pid": {"type": "list", "elements": "int", "default": []},
        "all": {"type": "bool", "default": False},
        "targets": {"type": "list", "elements": "str", "default": []},
        "probe": {"type": "bool", "default": True},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    networks = module.params["networks"]
    try:
        network.parse_networks(networks, "networks")
        asked = targets.parsed(module.params["targets"])
        require_pyroute2(module)
        from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.drift import checked

        verdicts = checked(
            networks,
            asked,
            module.params["probe"],
            names=module.params["netns"],
            pids=module.params["pid"],
            everything=module.params["all"],
        )
    except EgressError as error:
        fail(module, error)
    module.exit_json(changed=False, verdicts=verdicts)


if __name__ == "__main__":
    main()
