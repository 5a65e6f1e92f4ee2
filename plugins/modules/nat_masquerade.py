#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nat_masquerade
short_description: Translate the source addresses of outgoing packets, and publish ports
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Translates the source addresses of packets from some networks when they leave this host, by rules in a table of its
    own, C(inet netpath_egress), or with O(backend) in a chain of iptables or a policy of firewalld. Rules of others are
    not changed.
  - Traffic between the sources themselves is never translated.
  - Ports of this host can lead into the network. Sources of two networks that overlap, and ports that another network
    publishes or that a program of this host listens on, are refused.
  - A change takes effect in one transaction. However many sources there are, each family has one set and one rule.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
  - netpath.egress.egress.nft
options:
  name: &name
    description:
      - Name of the network that is translated, 1 to 32 of C(a-z), C(0-9) and C(-). It is the identity of its rules, and
        their comment.
      - Either this or O(config) is required.
    type: str
  sources: &sources
    description:
      - Networks whose packets are translated, of either family or both. An address alone is a network of one. All of a
        family, such as V(0.0.0.0/0), is refused, since nothing would be left to translate for.
      - Required unless O(state=absent).
    type: list
    elements: str
  exclude: &exclude
    description: Destinations to which packets go untranslated, besides the sources themselves.
    type: list
    elements: str
  out_interface: &out_interface
    description: Translates only what leaves by these interfaces.
    type: list
    elements: str
  not_out_interface: &not_out_interface
    description: Translates only what does not leave by this interface, such as the bridge of the sources.
    type: str
  mode: &mode
    description:
      - V(masquerade) takes the address of the interface that the packet leaves by.
      - V(snat) takes O(to_source).
      - V(none) translates no sources, for O(publish) alone.
    type: str
    choices: [masquerade, snat, none]
    default: masquerade
  to_source: &to_source
    description:
      - With O(mode=snat), the address or the range that is put in place, such as V(198.51.100.1-198.51.100.9), one for
        each family of the sources.
    type: list
    elements: str
  ports: &ports
    description:
      - Range that source ports are translated into, such as V(1024-65535). It applies to TCP, UDP, DCCP and SCTP; other
        protocols are translated without it.
      - Leaving it out leaves the choice to the kernel, which keeps the port where it can.
    type: str
  random_fully: &random_fully
    description: Chooses source ports at random instead of keeping them.
    type: bool
    default: false
  publish: &publish
    description:
      - Ports of this host that lead into the network. They are reached from outside, from the host itself and from the
        network, at any address of this host but those of its loopback.
      - A port that another network publishes, or that a program of this host listens on, is refused.
      - Where forwarded packets are filtered, M(netpath.egress.forward_accept) lets these through, if it is told that
        ports are published.
    type: list
    elements: dict
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
          - An address of the sources, and another port where it has another one, as in V(10.22.33.2:80) or
            V([fd00:22:33::2]:80). Its family is the one in which the port is published.
        type: str
        required: true
  guard: &guard
    description:
      - What never leaves this host, whatever connection tracking says of it. Behind all translation, packets are
        dropped that still have one of O(sources) and leave by an interface other than a bridge of a guarded network,
        except to destinations in O(exclude).
      - The rules are in a table of their own, C(inet netpath_egress_guard), whatever O(backend) is. Without the program
        C(nft) they are in the table C(mangle) of iptables, and there the first packet of a flow is not held.
    type: dict
    suboptions:
      bridge:
        description: Bridge behind which the sources are.
        type: str
        required: true
      shared:
        description: The bridge is a way out of this host as well, so that destinations tell what leaves.
        type: bool
        default: false
      strict:
        description: Drops what comes from the bridge with a source other than O(sources), unless it stays on it.
        type: bool
        default: true
      replies:
        description: Lets replies to connections that began outside leave with their own source.
        type: bool
        default: false
      exclude:
        description: More destinations that see the sources as they are, such as untranslated networks of this host.
        type: list
        elements: str
        default: []
  backend: &backend
    description:
      - What the rules are written for. V(auto) takes V(nftables) where its program is there, as a table of our own
        works beside whatever else translates.
      - V(iptables) takes the flavour that is in use for NAT on this host, otherwise that of the command C(iptables).
      - V(firewalld) makes a policy of firewalld, which must be running. It masquerades one network of each family, and
        knows none of O(exclude), O(to_source), O(ports) and O(random_fully). It matches zones, not interfaces.
      - Where the rules were written for something else before, they move.
    type: str
    choices: [auto, nftables, iptables, firewalld]
    default: auto
  netns: &netns
    description: Namespace of the rules, by its name. Without it, the one of the host.
    type: str
  flush_conntrack: &flush_conntrack
    description:
      - Ends the tracked flows that a change affects, since a flow keeps the translation that it began with. Other
        flows go on, also where the rules move to another back end or name other interfaces.
    type: bool
    default: true
  state: &state
    description:
      - V(present) brings the rules to the wanted state, also where they were edited by hand.
      - V(absent) removes the rules of this network. It is success where there are none.
    type: str
    choices: [present, absent]
    default: present
  config:
    suboptions:
      name:
        <<: *name
        required: true
      sources: *sources
      exclude: *exclude
      out_interface: *out_interface
      not_out_interface: *not_out_interface
      mode: *mode
      to_source: *to_source
      ports: *ports
      random_fully: *random_fully
      publish: *publish
      guard: *guard
      backend: *backend
      netns: *netns
      flush_conntrack: *flush_conntrack
      state: *state
seealso:
  - module: netpath.egress.sysctl_forward
    description: Lets the host forward the packets.
"""

EXAMPLES = r"""
- name: Translate a network to the address of the interface that its packets leave by
  netpath.egress.nat_masquerade:
    name: pods
    sources:
      - 10.22.33.0/24
      - fd00:22:33::/64
    not_out_interface: br0

- name: Translate two networks in one run, one of them to an address and ports of its own
  netpath.egress.nat_masquerade:
    config:
      - name: pods
        sources:
          - 10.22.33.0/24
          - fd00:22:33::/64
        not_out_interface: br0
      - name: lab
        sources:
          - 10.44.0.0/24
        exclude:
          - 10.0.0.0/8
        mode: snat
        to_source:
          - 198.51.100.7
        ports: 1024-65535
        random_fully: true

- name: Lead a port of the host to a namespace, in both families
  netpath.egress.nat_masquerade:
    name: pods
    sources:
      - 10.22.33.0/24
      - fd00:22:33::/64
    not_out_interface: br0
    publish:
      - port: 8080
        to: 10.22.33.2:80
      - port: 8080
        to: "[fd00:22:33::2]:80"
      - port: 30000-30100
        protocol: udp
        to: 10.22.33.2

- name: Stop translating a network
  netpath.egress.nat_masquerade:
    name: lab
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample:
    - create source NAT pods for 10.22.33.0/24, fd00:22:33::/64
backends:
  description: What the rules of each network are written for.
  returned: when O(state=present)
  type: list
  elements: dict
  contains:
    name:
      description: The network.
      type: str
      sample: pods
    purpose:
      description: What the rules do. Here always V(nat).
      type: str
      sample: nat
    backend:
      description: V(nftables), V(iptables-nft), V(iptables-legacy) or V(firewalld).
      type: str
      sample: nftables
    reason:
      description: Why.
      type: str
      sample: asked for
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
        ruleset pods:
          netns: ""
          name: "pods"
          rules:
            sources: ["10.22.33.0/24", "fd00:22:33::/64"]
            not_out_interface: "br0"
asked:
  description: What could not be done, or the option that is wrong.
  returned: failure
  type: str
  sample: sources
found:
  description: What stands in the way.
  returned: failure
  type: str
  sample: missing
advice:
  description: What to do about it.
  returned: failure
  type: str
  sample: give the networks whose packets are translated
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import nat_masquerade
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(nat_masquerade.OPTIONS, nat_masquerade.wanted, looks_at_host=True)


if __name__ == "__main__":
    main()
