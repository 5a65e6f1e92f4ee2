#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_info
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Show namespaces, links, routes, translation and leftovers of a host
description:
  - Reads what makes up the path from network namespaces to the internet, in every namespace of the host.
  - It changes nothing.
options:
  gather:
    description:
      - What to return. What is left out costs nothing.
    type: list
    elements: str
    choices: &sections
      [requirements, namespaces, links, counters, bridges, fdb, neighbours, routes, forwarding, nat, conntrack,
       bridge_netfilter, uplinks, resolvers, restricted, orphans]
    default: *sections
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.info
"""

EXAMPLES = r"""
- name: Look at everything
  netpath.egress.egress_info:
  register: host

- name: List what nobody seems to need any more
  ansible.builtin.debug:
    var: host.orphans

- name: Look at the uplinks only
  netpath.egress.egress_info:
    gather: [uplinks]
"""

RETURN = r"""
requirements:
  description: What the modules need on this host.
  returned: when gathered
  type: dict
  contains:
    pyroute2:
      description: Its version.
      type: str
    nft:
      description: Path of the program, none where it is missing.
      type: str
namespaces:
  description: Namespaces with a handle below C(/run/netns), and those that only processes hold.
  returned: when gathered
  type: list
  elements: dict
  contains:
    name:
      description: Name of the handle, none for a namespace without one.
      type: str
    path:
      description: A path by which it can be entered.
      type: str
    inode:
      description: Its number, the same as in C(/proc/PID/ns/net).
      type: int
    network:
      description: The network for which it was made, empty for none in particular, none if somebody else made it.
      type: str
    assigned:
      description: The addresses that it was given, as the ledger has them. Empty where it has none.
      type: list
      elements: str
    processes:
      description: Who lives in it, as C(pid) and C(command).
      type: list
      elements: dict
links:
  description: Links of all namespaces.
  returned: when gathered
  type: list
  elements: dict
  contains:
    netns:
      description: Its namespace, empty for that of the host, a path for one without a name.
      type: str
    name:
      description: Its name.
      type: str
    index:
      description: Its number in its namespace.
      type: int
    kind:
      description: Its kind, such as V(veth) or V(bridge), empty for a physical one.
      type: str
    mac:
      description: Its MAC address.
      type: str
    mtu:
      description: Its MTU.
      type: int
    up:
      description: Whether it is switched on.
      type: bool
    carrier:
      description: Whether its other side is switched on too.
      type: bool
    master:
      description: The bridge that it is a port of, empty for none.
      type: str
    alias:
      description: Its alias.
      type: str
    network:
      description: The network for which it was made, empty for none in particular, none if somebody else made it.
      type: str
    peer:
      description: Of a veth the other end, as C(netns), C(name) and C(index), none where nobody knows where it is.
      type: dict
    addresses:
      description: Its addresses with prefix length, without link-local ones.
      type: list
      elements: str
    link_local:
      description: Its IPv6 link-local addresses.
      type: list
      elements: str
    added:
      description: Of a link that somebody else made, each C(address) that was added to it and for which C(network).
      type: list
      elements: dict
counters:
  description: What links of all namespaces have carried, since each was made.
  returned: when gathered
  type: list
  elements: dict
  contains:
    netns:
      description: Its namespace, as of RV(links[].netns).
      type: str
    name:
      description: Its name.
      type: str
    rx_packets:
      description: Packets received.
      type: int
    tx_packets:
      description: Packets sent.
      type: int
    rx_bytes:
      description: Bytes received.
      type: int
    tx_bytes:
      description: Bytes sent.
      type: int
    rx_errors:
      description: Packets received with errors.
      type: int
    tx_errors:
      description: Packets that could not be sent.
      type: int
    rx_dropped:
      description: Packets received and dropped.
      type: int
    tx_dropped:
      description: Packets dropped ahead of sending, as by a veth whose other end is down.
      type: int
bridges:
  description: Bridges with their C(ports) and options.
  returned: when gathered
  type: list
  elements: dict
fdb:
  description: The forwarding tables of all bridges.
  returned: when gathered
  type: list
  elements: dict
  contains:
    netns:
      description: The namespace of the bridge, as of RV(links[].netns).
      type: str
    bridge:
      description: The bridge.
      type: str
    port:
      description: The port behind which the address is; the bridge itself for its own.
      type: str
    mac:
      description: The MAC address.
      type: str
    vlan:
      description: The VLAN for which that holds, or none.
      type: int
    kind:
      description:
        - V(learned) from packets, V(static) where somebody set it, V(external) where another program learned it, and
          V(local) for the address of the port itself.
      type: str
neighbours:
  description: Neighbours in all namespaces (ARP and neighbour discovery), without multicast groups.
  returned: when gathered
  type: list
  elements: dict
  contains:
    netns:
      description: The namespace, as of RV(links[].netns).
      type: str
    link:
      description: The link that it is on.
      type: str
    address:
      description: Its address.
      type: str
    mac:
      description: Its MAC address, none while nobody knows it.
      type: str
    state:
      description: The state, such as V(REACHABLE), V(STALE) or V(FAILED).
      type: str
routes:
  description:
    - Routes of all namespaces and tables, without those to local and broadcast addresses. C(network) is the one for
      which a route was made.
  returned: when gathered
  type: list
  elements: dict
forwarding:
  description: Whether each namespace forwards C(ipv4) and C(ipv6).
  returned: when gathered
  type: list
  elements: dict
nat:
  description: Source translation that this collection made. With C(intact) false somebody else edited the rules.
  returned: when gathered
  type: list
  elements: dict
conntrack:
  description: Use of the connection tracking table, as C(count) and C(max), none where it is not loaded.
  returned: when gathered
  type: dict
bridge_netfilter:
  description:
    - Whether br_netfilter is C(loaded), and whether packets that the host's bridges forward pass the rules of
      C(iptables), C(ip6tables) and C(arptables), none where it is not loaded. Single bridges may have them pass as
      well, see RV(bridges).
  returned: when gathered
  type: dict
uplinks:
  description:
    - For C(ipv4) and C(ipv6) the route by which the kernel sends what is far, by whatever rule and table,
      as C(interface), C(gateway) and C(mtu), or none.
    - C(routes) lists it and the default routes of the main table, best first, each with its C(interfaces)
      and its C(metric).
  returned: when gathered
  type: dict
resolvers:
  description: Files C(/etc/netns/NAME/resolv.conf) that were written for networks, as C(netns) and C(network).
  returned: when gathered
  type: list
  elements: dict
restricted:
  description: Ports of the host that send from their own addresses alone, each with its C(port) and C(network).
  returned: when gathered
  type: list
  elements: dict
orphans:
  description:
    - Leftovers, each with its C(kind), C(name) and the C(evidence) for it. Nothing is removed.
    - V(stale_handle) is a file below C(/run/netns) that is no namespace, V(leaked_namespace) one of ours without a
      name, V(dangling_veth) an end of ours on the host whose other end is nowhere, V(rules_without_network) rules of
      ours, in any back end, for a network of which no link has the mark.
  returned: when gathered
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._module import fail, require_pyroute2

SECTIONS = [
    "requirements",
    "namespaces",
    "links",
    "counters",
    "bridges",
    "fdb",
    "neighbours",
    "routes",
    "forwarding",
    "nat",
    "conntrack",
    "bridge_netfilter",
    "uplinks",
    "resolvers",
    "restricted",
    "orphans",
]


def main() -> None:
    module = AnsibleModule(
        argument_spec={"gather": {"type": "list", "elements": "str", "choices": SECTIONS, "default": SECTIONS}},
        supports_check_mode=True,
    )
    version = require_pyroute2(module)
    from ansible_collections.netpath.egress.plugins.module_utils._engine import inventory

    try:
        found = inventory.inventory(module.params["gather"])
    except EgressError as error:
        fail(module, error)
    if "requirements" in module.params["gather"]:
        found["requirements"] = {"pyroute2": version, "nft": module.get_bin_path("nft")}
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
