# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules of this collection have in common, as documentation."""

from __future__ import annotations


class ModuleDocFragment:
    """egress: every module; egress.manage: modules that change something; egress.config: those
    that take many objects; egress.confirm: those
    whose change may cut the way to the host; egress.nft: those that write rules; egress.networks: those that take
    whole networks; egress.controller: reports on the controller."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - Linux 5.2 or later
  - python >= 3.9
  - pyroute2 >= 0.7.2
attributes:
  platform:
    description: The operating systems that the managed node may run.
    support: full
    platforms: linux
  action_group:
    description: Use C(group/netpath.egress.egress) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - netpath.egress.egress
"""

    CONFIG = r"""
options:
  config:
    description:
      - The same options, for many objects in one run. It excludes all others.
      - They are planned and applied as one change, which takes effect as a whole or not at all.
    type: list
    elements: dict
"""

    MANAGE = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and predict what would be done, without doing it.
    details:
      - The predicted RV(ignore:actions) are those that the real run then takes.
      - An object that something asked for refers to may still be missing, as another task of the same play may make it.
    support: full
  diff_mode:
    description: Returns the affected objects before and after, as YAML.
    support: full
  idempotent:
    description: A second run with the same options changes nothing and takes no action.
    support: full
notes:
  - The module needs root, or the capabilities C(CAP_NET_ADMIN) and C(CAP_SYS_ADMIN).
  - A run that fails half way puts back what it has changed so far. Two runs at once on a host wait for each other.
  - The interface that carries the default route or the SSH session is never enslaved, moved, taken down or removed.
    Such a request is refused.
"""

    CONFIRM = r"""
options:
  confirm_within:
    description:
      - Seconds after which a change that may cut the way to the host is put back, unless it is confirmed. Such are
        the MTU of an interface that carries the default route or the SSH session, how packets that come in by it are
        filtered, and a route or an address by which the controller is reached.
      - The controller confirms it by itself, and returns it in RV(ignore:confirmed). A task has 30 seconds for that
        where it names no number.
      - With C(async) nothing is put back unless a number is given. A later task then confirms it by
        M(netpath.egress.egress_confirm), and all SSH sessions of the host count.
      - With V(0) nothing is put back.
      - A route or an address that is sure to lead packets to the controller elsewhere is refused.
    type: int
    default: 0
"""

    NFT = r"""
options: {}
requirements:
  - nft (the package nftables) with support for JSON
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Reads only, also in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: full
  idempotent:
    description: Changes nothing.
    support: full
notes:
  - The module needs root, or the capabilities C(CAP_NET_ADMIN) and C(CAP_SYS_ADMIN).
"""

    CONTROLLER = r"""
options: {}
attributes:
  platform:
    description: The operating systems that the controller may run.
    support: full
    platforms: posix
  action:
    description: It has an action on the controller.
    support: full
  action_group:
    description: Use C(group/netpath.egress.egress) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - netpath.egress.egress
  check_mode:
    description: Changes no host, also in check mode.
    support: full
    details: The files are written all the same.
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: full
  idempotent:
    description: Never reports a change.
    support: full
"""

    NETWORKS = r"""
options:
  networks:
    description:
      - The networks, as in the variable C(egress_networks) of the role P(netpath.egress.egress#role).
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
        description: Whether the namespaces are kept from talking to each other, over the bridge and by the gateway.
        type: bool
        default: false
      spoof_protection:
        description:
          - Whether a namespace sends only with its own MAC address and from its own addresses, in IPv4, IPv6, ARP and
            neighbour discovery, and sends no router advertisements, redirects and answers of DHCP servers.
          - Left out, it is V(true), unless O(networks[].firewall) is V(none).
        type: bool
      peers:
        description:
          - Names of other networks of this host whose namespaces it exchanges packets with, each with its own address,
            or V(all). It is enough that one of two networks names the other.
        type: list
        elements: str
        default: []
      inbound:
        description:
          - Who outside may begin a connection to a namespace. With V(published) those to a published port alone, with
            V(open) everybody who has a route.
          - Left out, it is V(published), and V(open) with C(nat) V(none).
        type: str
        choices: [published, open]
      hairpin:
        description:
          - Whether a namespace may reach itself by the bridge. Left out, it is on while a port is published to the
            namespace, and is otherwise left as it is.
        type: bool
      ipv6_link_local:
        description:
          - Whether the interface in a namespace gets a link-local address of IPv6. Left out, it does in a network
            that has IPv6.
          - The other end, on the host, never has one, as each address costs packets to all ports of the bridge.
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
            C(bandwidth), C(accept_ra), C(vlan) and C(trunk), or with C(prefix) and C(count) for many at once.
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
"""
