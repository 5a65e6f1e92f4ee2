#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linux_bridge
short_description: Make, keep and remove Linux bridges
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Makes a bridge with its addresses and options, in the namespace of the host or in another one.
  - A new bridge gets a MAC address that is always the same for this host and name, unless another is asked for, and
    keeps it when ports come and go.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
options:
  name: &name
    description:
      - Name of the bridge, 1 to 15 bytes without C(/), C(:), quotes or white space. A name that another kind of
        interface has is refused.
      - Either this or O(config) is required.
    type: str
  netns: &netns
    description: Namespace of the bridge, by its name. Without it, the one of the host.
    type: str
  addresses: &addresses
    description:
      - Addresses that the bridge has, each with its prefix length.
      - Others may be there too, unless O(exclusive_addresses) is set. One of an overlapping range is refused, naming
        both.
    type: list
    elements: str
  former_addresses: &former_addresses
    description: Addresses that are taken off again, of those that were added to the bridge of somebody else.
    type: list
    elements: str
  exclusive_addresses: &exclusive_addresses
    description: Removes permanent global addresses that are not listed. Link-local ones stay.
    type: bool
    default: false
  ports: &ports
    description:
      - Interfaces in the same namespace that are ports of the bridge, besides those that it has.
      - A bridge holds 1023 ports.
    type: list
    elements: str
  exclusive_ports: &exclusive_ports
    description: Takes interfaces that are not listed off the bridge.
    type: bool
    default: false
  mtu: &mtu
    description: MTU of the bridge, 68 to 65535. Leaving it out leaves it to the kernel, which follows the ports.
    type: int
  mac: &mac
    description: MAC address of the bridge. Leaving it out leaves it as it is.
    type: str
  stp: &stp
    description: Whether the bridge takes part in the spanning tree protocol.
    type: bool
  forward_delay: &forward_delay
    description: Seconds that a new port listens and learns before it forwards, 0 to 30, with O(stp=true) 2 to 30.
    type: int
  ageing_time: &ageing_time
    description: Seconds after which a learned MAC address is forgotten, 0 to 1000000.
    type: int
  vlan_filtering: &vlan_filtering
    description: Whether the bridge keeps VLANs apart. An error where the kernel cannot.
    type: bool
  vlan: &vlan
    description:
      - VLAN of the bridge itself, so of its addresses, 1 to 4094. It counts with O(vlan_filtering=true). Leaving it out
        leaves it as it is, in a new bridge at 1. An error where the kernel cannot.
    type: int
  multicast_snooping: &multicast_snooping
    description: Whether multicast goes only to ports that asked for it. An error where the kernel cannot.
    type: bool
  link_local_learning: &link_local_learning
    description:
      - Whether the bridge learns the MAC addresses that send frames to groups of bridges, C(01:80:c2:00:00:0e) of LLDP
        among them (C(no_linklocal_learn) is off). No filter of nftables sees these frames.
      - Leaving this out leaves it as it is.
    type: bool
    version_added: 1.1.0
  nf_call_iptables: &nf_call_iptables
    description:
      - Whether IPv4 packets that the bridge forwards pass the rules of iptables, also where the whole host has that
        switched off (C(net.bridge.bridge-nf-call-iptables)). An error where br_netfilter is not loaded.
    type: bool
  nf_call_ip6tables: &nf_call_ip6tables
    description: The same for IPv6 packets.
    type: bool
  ipv6: &ipv6
    description:
      - Whether the bridge itself has IPv6 (C(disable_ipv6) is off). Its ports exchange IPv6 in any case.
      - Leaving this out leaves it as it is.
    type: bool
    version_added: 1.1.0
  ipv6_dad: &ipv6_dad
    description:
      - Whether new addresses of IPv6 are checked for duplicates (C(accept_dad)). Whoever is behind a port may object,
        and then the address cannot be used. Leaving this out leaves it as it is.
    type: bool
    version_added: 1.1.0
  arp_notify: &arp_notify
    description:
      - Whether the bridge tells its IPv4 addresses to its neighbours when it comes up or gets another MAC address
        (gratuitous ARP). Leaving it out leaves it as it is.
    type: bool
  rp_filter: &rp_filter
    description:
      - Whether a packet is dropped whose source is not reached by the bridge (V(1)) or by no interface at all (V(2)).
        The larger of this and C(net.ipv4.conf.all.rp_filter) counts. Leaving it out leaves it as it is.
    type: int
    choices: [0, 1, 2]
  unmanaged: &unmanaged
    description:
      - Other interfaces of the host that belong to the bridge. Where systemd-networkd or NetworkManager runs on the
        host, a file tells it to leave these and the bridge alone, before they are made. The file goes with the bridge.
      - An empty list is about the bridge alone. Leaving this out leaves such files as they are.
    type: list
    elements: str
  up: &up
    description: Whether the bridge is up.
    type: bool
    default: true
  network: &network
    description:
      - Name of the network that this is made for, 1 to 32 of C(a-z), C(0-9) and C(-), as its label.
      - What this module makes carries the mark C(netpath:) with this name as its interface alias. What was there
        before is brought to the wanted state, but it is never marked and so never removed.
      - An interface that carries the mark of another network is refused. Without a name the mark is C(netpath:)
        alone.
    type: str
  state: &state
    description:
      - V(present) brings the bridge to the wanted state. Options that are left out stay as they are.
      - V(absent) removes the bridge; its ports live on without it. It is success where there is none, and refused for
        a bridge that does not carry the mark.
    type: str
    choices: [present, absent]
    default: present
  config:
    suboptions:
      name:
        <<: *name
        required: true
      netns: *netns
      addresses: *addresses
      former_addresses: *former_addresses
      exclusive_addresses: *exclusive_addresses
      ports: *ports
      exclusive_ports: *exclusive_ports
      mtu: *mtu
      mac: *mac
      stp: *stp
      forward_delay: *forward_delay
      ageing_time: *ageing_time
      vlan_filtering: *vlan_filtering
      vlan: *vlan
      multicast_snooping: *multicast_snooping
      link_local_learning: *link_local_learning
      nf_call_iptables: *nf_call_iptables
      nf_call_ip6tables: *nf_call_ip6tables
      ipv6: *ipv6
      ipv6_dad: *ipv6_dad
      arp_notify: *arp_notify
      rp_filter: *rp_filter
      unmanaged: *unmanaged
      up: *up
      network: *network
      state: *state
seealso:
  - module: netpath.egress.veth
    description: Connects a namespace to the bridge.
"""

EXAMPLES = r"""
- name: Make a bridge that is the gateway of its ports
  netpath.egress.linux_bridge:
    name: br0
    addresses:
      - 10.22.33.1/24
      - fd00:22:33::1/64
    network: pods

- name: Make two bridges in one run
  netpath.egress.linux_bridge:
    config:
      - name: br0
        addresses:
          - 10.22.33.1/24
          - fd00:22:33::1/64
        exclusive_addresses: true
        stp: false
        ageing_time: 300
        network: pods
      - name: br9
        mtu: 1400
        network: lab

- name: Make a bridge inside a namespace
  netpath.egress.linux_bridge:
    name: br0
    netns: ns2
    addresses:
      - 10.22.35.1/24
    network: pods

- name: Remove a bridge
  netpath.egress.linux_bridge:
    name: br9
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample:
    - create bridge br0
    - add address 10.22.33.1/24 to br0
changed:
  description: Whether anything was done. In check mode, whether anything would be.
  returned: always
  type: bool
  sample: true
diff:
  description: The affected objects alone, as YAML.
  returned: success
  type: dict
  contains:
    before:
      description: As they were.
      type: str
      sample: ""
    after:
      description: As they are now, or in check mode would be.
      type: str
      sample: |
        link br0:
          netns: ""
          name: "br0"
          kind: "bridge"
          alias: "netpath:pods"
          up: true
asked:
  description: What could not be done, or the option that is wrong.
  returned: failure
  type: str
  sample: give br0 the address 10.22.33.1/24
found:
  description: What stands in the way.
  returned: failure
  type: str
  sample: it has 10.22.33.254/24, of an overlapping range
advice:
  description: What to do about it.
  returned: failure
  type: str
  sample: Remove that address, or set exclusive_addresses to have it replaced
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import linux_bridge
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(linux_bridge.OPTIONS, linux_bridge.wanted, looks_at_host=True)


if __name__ == "__main__":
    main()
