#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: veth
short_description: Make, keep and remove pairs of virtual Ethernet interfaces
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Makes a veth pair with both ends in place, in one message to the kernel, with their addresses and bridge.
  - An existing pair is brought to the wanted state wherever its ends are. It is renamed, moved to another namespace or
    put on another bridge, and gets back the addresses and routes that the kernel drops on the way.
  - A pair is found by either end, under the wanted name in the wanted namespace.
  - A new end gets a MAC address that is always the same for this host and name, unless another is asked for.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
options:
  name: &name
    description:
      - Name of the end that the pair is known by, 1 to 15 bytes without C(/), C(:), quotes or white space.
      - Either this or O(config) is required.
    type: str
  netns: &netns
    description: Namespace of this end, by its name. Without it, the one of the host.
    type: str
  master: &master
    description:
      - Bridge in the same namespace that this end is a port of.
      - An empty string takes the end off its bridge. Leaving this out leaves it where it is.
    type: str
  mtu: &mtu
    description: MTU of this end, 68 to 65535. Leaving it out leaves it as it is, in a new pair at the kernel's default.
    type: int
  mac: &mac
    description: MAC address of this end. Leaving it out leaves it as it is.
    type: str
  addresses: &addresses
    description:
      - All addresses of this end, each with its prefix length. Other permanent global addresses are removed from it;
        link-local ones and those learned by DHCP or router advertisements stay.
      - Leaving this out leaves its addresses as they are.
    type: list
    elements: str
  up: &up
    description: Whether this end is up.
    type: bool
    default: true
  ipv6_link_local: &ipv6_link_local
    description:
      - Whether this end gets a link-local address of IPv6 when it comes up. One that it has already stays.
      - Leaving this out leaves it as it is. A new end gets one, unless the kernel was told otherwise.
    type: bool
  ipv6: &ipv6
    description:
      - Whether this end has IPv6 (C(disable_ipv6) is off). Leaving this out leaves it as it is.
    type: bool
    version_added: 1.1.0
  ipv6_dad: &ipv6_dad
    description:
      - Whether new addresses of IPv6 are checked for duplicates (C(accept_dad)). Whoever is on the link may object, and
        then the address cannot be used. V(false) is for addresses that are known to be free.
      - Leaving this out leaves it as it is.
    type: bool
    version_added: 1.1.0
  accept_ra: &accept_ra
    description:
      - Whether this end learns addresses and routes from router advertisements (C(accept_ra) and C(autoconf)).
        Refused for an end on the host.
      - Leaving this out, an end of a managed pair learns nothing, and what it learned before is deleted. Redirects are
        never accepted.
    type: bool
    version_added: 1.1.0
  isolated: &isolated
    description: Whether the port cannot talk to other isolated ports of the bridge. Needs O(master).
    type: bool
  hairpin: &hairpin
    description: Whether the bridge may send a frame back out of the port that it came in by. Needs O(master).
    type: bool
  published: &published
    description:
      - Whether a port of the host leads to the other end. Then hairpin mode is on, and with V(false) it goes back to
        what it was before that. O(hairpin) has the last word.
    type: bool
  bandwidth: &bandwidth
    description:
      - What each end may send in a second, so the limit of both directions, such as V(10mbit) or V(1.5gbit).
      - It is a token bucket filter (tbf) as the root queueing discipline of both ends, under the handle C(fa:). A pair
        with another one that somebody chose is refused.
      - V(none) lifts the limit. Leaving this out leaves it as it is.
    type: str
  spoof_protection: &spoof_protection
    description:
      - Whether the port sends only with the MAC address of the other end and, in IPv4, IPv6, ARP and neighbour
        discovery, from the addresses in O(peer.addresses) and the link-local address of that MAC address. It sends no
        router advertisements, redirects and answers of DHCP servers either. Needs O(master) and O(peer.addresses).
      - With O(trunk) the addresses are not checked, since those of VLAN interfaces are listed nowhere.
      - The rules are in the nftables table C(bridge netpath_egress), in place before the port is made. The MAC address
        is the one that the pair had when this was asked for first, and is set again where somebody changed it.
      - V(false) lifts it. Leaving this out leaves it as it is.
    type: bool
  arp_notify: &arp_notify
    description:
      - Whether this end tells its IPv4 addresses to its neighbours when it comes up or gets another MAC address
        (gratuitous ARP). Leaving it out leaves it as it is.
    type: bool
  rp_filter: &rp_filter
    description:
      - Whether a packet is dropped whose source is not reached by this end (V(1)) or by no interface at all (V(2)).
        The larger of this and C(net.ipv4.conf.all.rp_filter) counts. Leaving it out leaves it as it is.
    type: int
    choices: [0, 1, 2]
  vlan: &vlan
    description:
      - VLAN of the port, 1 to 4094, of the frames that have no tag. Alone it makes an access port. It counts on a
        bridge with C(vlan_filtering), and needs O(master). An error where the kernel cannot.
      - Leaving this and O(trunk) out leaves the VLANs of the port as they are, of a new one at 1.
    type: int
  trunk: &trunk
    description: VLANs whose frames pass the port with their tag. Without O(vlan) others do not pass.
    type: list
    elements: int
  peer: &peer
    description: The other end. Required to make or keep a pair, and optional to remove one.
    type: dict
    suboptions:
      name:
        description: Name of the other end, by the same rules as O(name).
        type: str
        required: true
      netns:
        description: Namespace of the other end, by its name. Without it, the one of the host.
        type: str
      mtu:
        description: MTU of the other end. Defaults to O(mtu).
        type: int
      mac:
        description: MAC address of the other end. Leaving it out leaves it as it is.
        type: str
      addresses:
        description: All addresses of the other end, as in O(addresses).
        type: list
        elements: str
      up:
        description: Whether the other end is up.
        type: bool
        default: true
      ipv6_link_local:
        description: As O(ipv6_link_local), of the other end.
        type: bool
      ipv6:
        description: As O(ipv6), of the other end.
        type: bool
        version_added: 1.1.0
      ipv6_dad:
        description: As O(ipv6_dad), of the other end.
        type: bool
        version_added: 1.1.0
      accept_ra:
        description: As O(accept_ra), of the other end.
        type: bool
        version_added: 1.1.0
      arp_notify:
        description: As O(arp_notify), of the other end.
        type: bool
      rp_filter:
        description: As O(rp_filter), of the other end.
        type: int
        choices: [0, 1, 2]
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
      - V(present) brings the pair to the wanted state.
      - V(absent) removes the pair, both ends at once. It is success where there is none, and refused for a pair that
        does not carry the mark.
    type: str
    choices: [present, absent]
    default: present
  config:
    suboptions:
      name:
        <<: *name
        required: true
      netns: *netns
      master: *master
      mtu: *mtu
      mac: *mac
      addresses: *addresses
      up: *up
      ipv6_link_local: *ipv6_link_local
      ipv6: *ipv6
      ipv6_dad: *ipv6_dad
      accept_ra: *accept_ra
      isolated: *isolated
      spoof_protection: *spoof_protection
      hairpin: *hairpin
      published: *published
      bandwidth: *bandwidth
      arp_notify: *arp_notify
      rp_filter: *rp_filter
      vlan: *vlan
      trunk: *trunk
      peer: *peer
      network: *network
      state: *state
seealso:
  - module: netpath.egress.netns
    description: Makes the namespaces.
  - module: netpath.egress.linux_bridge
    description: Makes the bridge.
"""

EXAMPLES = r"""
- name: Connect a namespace to a bridge
  netpath.egress.veth:
    name: to-ns1
    master: br0
    peer:
      name: eth0
      netns: ns1
      addresses:
        - 10.22.33.11/24
        - fd00:22:33::11/64
    network: pods

- name: Connect two namespaces to a bridge in one run, so that they cannot talk to each other
  netpath.egress.veth:
    config:
      - name: to-ns1
        master: br0
        isolated: true
        peer:
          name: eth0
          netns: ns1
          addresses:
            - 10.22.33.11/24
            - fd00:22:33::11/64
        network: pods
      - name: to-ns2
        master: br0
        isolated: true
        peer:
          name: eth0
          netns: ns2
          addresses:
            - 10.22.33.12/24
            - fd00:22:33::12/64
        network: pods

- name: Connect two namespaces to each other directly, with jumbo frames
  netpath.egress.veth:
    name: to-ns2
    netns: ns1
    mtu: 9000
    addresses:
      - 10.22.34.1/30
    peer:
      name: to-ns1
      netns: ns2
      addresses:
        - 10.22.34.2/30
    network: pods

- name: Connect a namespace with ten megabits a second in each direction
  netpath.egress.veth:
    name: to-ns2
    master: br0
    bandwidth: 10mbit
    peer:
      name: eth0
      netns: ns2
    network: pods

- name: Remove a pair
  netpath.egress.veth:
    name: to-ns9
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample:
    - create veth to-ns1 with peer eth0 in namespace ns1 on bridge br0
    - add address 10.22.33.11/24 to eth0 in namespace ns1
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
      sample: |
        link to-ns1:
          netns: ""
          name: "to-ns1"
          kind: "veth"
          master: ""
    after:
      description: As they are now, or in check mode would be.
      type: str
      sample: |
        link to-ns1:
          netns: ""
          name: "to-ns1"
          kind: "veth"
          master: "br0"
asked:
  description: What could not be done, or the option that is wrong.
  returned: failure
  type: str
  sample: make veth to-ns1 with peer eth0 in namespace ns1
found:
  description: What stands in the way.
  returned: failure
  type: str
  sample: that name is taken by a veth link that somebody else made
advice:
  description: What to do about it.
  returned: failure
  type: str
  sample: Choose another name, or remove it
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import veth
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(veth.OPTIONS, veth.wanted)


if __name__ == "__main__":
    main()
