#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: forward_accept
short_description: Let a network's packets through whatever filters forwarded packets
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Accepts what a bridge sends out by an uplink, and the replies, in each filter of this host that would drop it. Where
    nothing drops it, nothing is written.
  - An accept in one filter does not overrule a drop in another, so there is no table of our own for this. The rules go
    to a chain of their own that is called from where the decision falls, C(DOCKER-USER) where Docker runs, otherwise
    the chain C(FORWARD) of iptables, in the nft and in the legacy flavour.
  - Where firewalld runs, the network gets a policy of its own in the runtime and in the permanent configuration. A new
    policy takes a reload of firewalld. That is refused, and nothing is changed, where it would cost somebody
    something, which is where the runtime configuration is not the permanent one, and, before firewalld 2, where there
    are rules in iptables, all of which it would flush.
  - Where ufw is active, the network gets route rules of ufw with our comment. These cannot tell what a published port
    leads on, so with O(published) it gets a chain that is called from C(FORWARD) as well.
  - With O(inbound) it also closes the bridge towards other networks and the outside, in a table of its own.
  - A chain of somebody else's in nftables that drops the packets cannot be overruled. It is named in a warning, and in
    RV(backends).
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
options:
  name: &name
    description:
      - Name of the network that is let through, 1 to 32 of C(a-z), C(0-9) and C(-). It is the identity of its rules,
        and their comment.
      - Either this or O(config) is required.
    type: str
  bridge: &bridge
    description:
      - Interface behind which the sources are.
      - Required unless O(state=absent).
    type: str
  uplink: &uplink
    description: Interfaces that lead out. Without it, all that default routes of the main table lead to.
    type: list
    elements: str
  sources: &sources
    description:
      - Networks whose packets are let through, of either family or both.
      - Required unless O(state=absent).
    type: list
    elements: str
  published: &published
    description: Whether what a published port leads to the sources is let through too, wherever it comes from.
    type: bool
    default: false
  mss_clamp: &mss_clamp
    description:
      - Whether TCP connections through O(bridge) announce no larger segments than fit the routes of both directions.
        It helps where the way out has a smaller MTU than the sources, and no ICMP tells them so.
      - The rules are in the nftables table C(inet netpath_egress_mss), or in the table C(mangle) of iptables.
    type: bool
    default: false
  inbound: &inbound
    description:
      - Who outside may begin a connection to the sources. With V(published) only what reached this host at a port that
        leads to them, by whosever rules, and replies; with V(open) everybody.
      - Whatever it is, networks for which it is given exchange packets with each other only as O(peers) says, or by
        published ports, and nothing is forwarded from O(bridge) to 169.254.0.0/16 (RFC 3927).
      - The rules are in the nftables table C(inet netpath_egress_wall). A drop there is final, whatever O(backend) is.
      - Leaving it out removes them, so O(bridge) is open in all directions.
    type: str
    choices: [published, open]
  peers: &peers
    description:
      - Names of other networks of this host with which packets are exchanged untranslated, both ways, or V(all).
      - It is enough that one of two networks names the other, which may still be missing. Needs O(inbound).
    type: list
    elements: str
    default: []
  isolated: &isolated
    description:
      - Whether nothing that came by O(bridge) is sent back to it, but to a published port. Needs O(inbound).
      - It is for a bridge with isolated ports, which could otherwise reach each other by the gateway.
    type: bool
    default: false
  spoof_protection: &spoof_protection
    description: Whether what comes by O(bridge) with a source outside O(sources) is dropped. Needs O(inbound).
    type: bool
    default: false
  former_ports: &former_ports
    description:
      - Ports of bridges whose C(spoof_protection), as of M(netpath.egress.veth), goes, also where the ports are gone.
    type: list
    elements: str
  backend: &backend
    description:
      - V(auto) writes rules where a filter of this host would drop the packets.
      - V(iptables) writes them for iptables also where nothing drops them yet.
      - V(firewalld) requires that firewalld runs; with V(auto) it is told about the network where it does.
    type: str
    choices: [auto, iptables, firewalld]
    default: auto
  netns: &netns
    description: Namespace of the rules, by its name. Without it, the one of the host.
    type: str
  state: &state
    description:
      - V(present) brings the rules to the wanted state, also where they were edited by hand, and removes them where
        they are no longer needed.
      - V(absent) removes the rules of this network. It is success where there are none.
    type: str
    choices: [present, absent]
    default: present
  config:
    suboptions:
      name:
        <<: *name
        required: true
      bridge: *bridge
      uplink: *uplink
      sources: *sources
      published: *published
      mss_clamp: *mss_clamp
      inbound: *inbound
      peers: *peers
      isolated: *isolated
      spoof_protection: *spoof_protection
      former_ports: *former_ports
      backend: *backend
      netns: *netns
      state: *state
seealso:
  - module: netpath.egress.sysctl_forward
    description: Lets the host forward the packets at all.
  - module: netpath.egress.nat_masquerade
    description: Translates their sources.
"""

EXAMPLES = r"""
- name: Let a network out, also beside Docker
  netpath.egress.forward_accept:
    name: pods
    bridge: br0
    sources:
      - 10.22.33.0/24
      - fd00:22:33::/64

- name: Let two networks out in one run
  netpath.egress.forward_accept:
    config:
      - name: pods
        bridge: br0
        sources:
          - 10.22.33.0/24
          - fd00:22:33::/64
      - name: lab
        bridge: br1
        uplink: uplink0
        sources:
          - 10.44.0.0/24
        backend: iptables

- name: Leave it to the filters again
  netpath.egress.forward_accept:
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
    - create accept in FORWARD for pods in iptables-nft
backends:
  description: The filters that the packets pass, as far as they need an accept.
  returned: when there are any
  type: list
  elements: dict
  contains:
    name:
      description: The network.
      type: str
      sample: pods
    purpose:
      description: What the rules do, V(forward) or V(mss).
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
        ruleset forward pods iptables-nft:
          netns: ""
          name: "pods"
          rules:
            bridge: "br0"
            uplinks: ["uplink0"]
            sources: ["10.22.33.0/24"]
          backend: "iptables-nft"
          purpose: "forward"
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
  sample: give the networks whose packets are let through
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import forward_accept
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(forward_accept.OPTIONS, forward_accept.wanted, looks_at_host=True)


if __name__ == "__main__":
    main()
