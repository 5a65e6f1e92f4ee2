#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_path
version_added: 0.1.0
author: netpath.egress contributors (@netpath)
short_description: Build the whole path of all networks of a host in one transaction
description:
  - Brings namespaces, bridges, pairs, addresses, routes, settings and rules of the networks to what is asked for.
  - The run takes effect as a whole or not at all.
  - It leaves the same state as the other modules of this collection, used one after the other.
  - In check mode it tells what differs, so that a task that must not change verifies a host.
options:
  networks:
    description:
      - The networks, as in the variable C(egress_networks) of the role P(netpath.egress.egress#role).
      - A namespace that is no longer in a listed network is removed. A network that is not listed is left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Identity of everything made for the network, 1 to 32 of a-z, 0-9 and C(-).
        type: str
        required: true
      bridge:
        description: Name of its bridge, at most 15 bytes. Without it C(br-) and the name.
        type: str
      subnets:
        description: Its ranges, IPv4, IPv6 or both. Required for a network that is present.
        type: list
        elements: str
      gateway:
        description:
          - The addresses of the bridge, one for each subnet, or V(first) for the first of each.
          - A link-local one, such as V(fe80::1), is that of all IPv6 subnets without another.
        type: raw
        default: first
      mtu:
        description:
          - MTU of every link of the network, or V(auto) for that of the uplink, and the smallest of several.
        type: raw
        default: auto
      isolated:
        description: Whether the namespaces are kept from talking to each other over the bridge.
        type: bool
        default: false
      hairpin:
        description:
          - Whether a namespace may reach itself by the bridge. Left out, it is on while a port is published to the
            namespace, and is otherwise left as it is.
        type: bool
      vlan_filtering:
        description: Whether the bridge keeps VLANs apart. An error where the kernel cannot. Left out, it stays so.
        type: bool
      vlan:
        description: VLAN of the bridge and, unless they have their own, of the namespaces, 1 to 4094.
        type: int
      arp_notify:
        description:
          - Whether the bridge and the namespaces tell their addresses by gratuitous ARP when a link comes up. Left
            out, it stays as it is.
        type: bool
      rp_filter:
        description:
          - Whether packets are dropped whose source is not reached by the link that they came in by (V(1)) or by none
            (V(2)), on the bridge and in the namespaces. Left out, it is left as it is.
        type: int
        choices: [0, 1, 2]
      uplink:
        description:
          - The interfaces that lead out, one or several, or V(auto) for wherever the routing table leads.
        type: list
        elements: str
        default: [auto]
      nat:
        description:
          - Source translation, as V(masquerade), V(snat) or V(none), or a mapping with the keys C(mode), C(to_source),
            C(exclude), C(random_fully) and C(ports) as of M(netpath.egress.nat_masquerade).
        type: raw
        default: {}
      publish:
        description: Ports of the host that lead into the network, as of M(netpath.egress.nat_masquerade).
        type: list
        elements: dict
        default: []
        suboptions:
          port:
            description: A port, or a range such as V(30000-30100), which keeps its numbers.
            type: raw
            required: true
          protocol:
            description: The protocol.
            type: str
            choices: [tcp, udp]
            default: tcp
          to:
            description:
              - A namespace of the network, for which the port is published in each of its families, or an address.
              - Another port may follow, as in V(ns1:80), V(10.22.33.2:80) or V([fd00:22:33::2]:80).
            type: str
            required: true
      mss_clamp:
        description: Whether TCP connections announce no larger segments than fit the way out, in both directions.
        type: bool
        default: false
      firewall:
        description: What the rules are written for. With V(none) no rules are made.
        type: str
        choices: [auto, nftables, iptables, firewalld, none]
        default: auto
      namespaces:
        description:
          - Names of namespaces, or mappings with the keys C(name), C(interface), C(addresses), C(dns),
            C(bandwidth), C(vlan) and C(trunk), or with C(prefix) and C(count) for many at once.
        type: list
        elements: raw
        default: []
      prefix:
        description: Start of the names of O(networks[].count) namespaces, which are numbered from 1.
        type: str
      count:
        description: How many namespaces to make besides those in O(networks[].namespaces).
        type: int
      state:
        description: Whether the network shall be there.
        type: str
        choices: [present, absent]
        default: present
  state:
    description: With V(absent) all listed networks are removed, whatever their own state.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.nft
"""

EXAMPLES = r"""
- name: Build a network of three namespaces
  netpath.egress.egress_path:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
        namespaces: [ns1, ns2, ns3]

- name: Verify it
  netpath.egress.egress_path:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
        namespaces: [ns1, ns2, ns3]
  check_mode: true
  register: path
  failed_when: path.changed

- name: Remove it
  netpath.egress.egress_path:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or in check mode what would be done, in order.
  returned: success
  type: list
  elements: str
  sample: ["create namespace ns1", "create bridge br0", "set net.ipv4.ip_forward to 1 (was 0)"]
diff:
  description: The affected objects before and after, as YAML.
  returned: success
  type: dict
  contains:
    before:
      description: What was there.
      type: str
    after:
      description: What is there now.
      type: str
backends:
  description: What the rules are written for.
  returned: when there are any
  type: list
  elements: dict
  contains:
    name:
      description: The network.
      type: str
      sample: pods
    purpose:
      description: What the rules do, V(nat), V(forward) or V(mss).
      type: str
      sample: forward
    backend:
      description: What the rules are written for. Empty where only the owner of the filter can let the packets through.
      type: str
      sample: iptables-nft
    reason:
      description: Why.
      type: str
      sample: the policy of FORWARD is DROP (IPv4)
asked:
  description: What was asked for, or the option that is wrong.
  returned: failure
  type: str
  sample: networks[0].subnets
found:
  description: What stands in the way.
  returned: failure
  type: str
advice:
  description: What to do about it.
  returned: failure
  type: str
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import network, path
from ansible_collections.netpath.egress.plugins.module_utils._module import run_request


def main() -> None:
    module = AnsibleModule(argument_spec=path.OPTIONS, supports_check_mode=True)
    networks = module.params["networks"]
    run_request(
        module,
        lambda host: path.wanted(module.params, host),
        check=lambda: network.parse_networks(networks, "networks", module.params["state"] == "absent"),
    )


if __name__ == "__main__":
    main()
