#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctl_forward
short_description: Let a host forward packets, and put its settings back exactly
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Sets the sysctls that forwarding needs, and remembers what they were.
  - Several networks may need the same setting, so each notes its need, in C(/var/lib/netpath/ledger.json). Two networks
    that need different values of one setting are refused.
  - The ledger also holds the values from before the first change, with those that the kernel changes along. When the
    last network that needs a setting lets it go, the setting gets back exactly what it was.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
options:
  ipv4: &ipv4
    description: Whether IPv4 is forwarded. Leaving it out leaves it as it is.
    type: bool
  ipv6: &ipv6
    description: Whether IPv6 is forwarded. Leaving it out leaves it as it is.
    type: bool
  interfaces: &interfaces
    description:
      - Interfaces whose own forwarding switches are set too, and to which O(rp_filter) is limited.
      - With O(network), the request is all that the network needs of forwarding. What it needed before goes back once
        nobody needs it, such as forwarding of a family that is left out now, or the settings of another interface.
    type: list
    elements: str
  accept_ra: &accept_ra
    description:
      - What becomes of interfaces that listen to router advertisements when O(ipv6=true). The kernel stops listening
        when it begins to forward, and what was learned expires, routes and addresses.
      - V(keep) has it go on listening, by setting its C(accept_ra) to 2 first. V(ignore) leaves that alone.
      - Where C(accept_ra) is 0, a program such as systemd-networkd listens in place of the kernel, and nothing is set.
    type: str
    choices: [keep, ignore]
    default: keep
  rp_filter: &rp_filter
    description:
      - Check of source addresses by the reverse path, V(0) for none, V(1) for strict and V(2) for loose, of each of
        O(interfaces), or without those of C(all) and C(default).
      - The kernel uses the higher one of C(all) and the interface's own. Leaving this out leaves it as it is.
    type: int
    choices: [0, 1, 2]
  bridge_nf_call: &bridge_nf_call
    description:
      - Whether bridged packets pass the rules of iptables. It needs the kernel module C(br_netfilter). Leaving it out
        leaves it as it is.
    type: bool
  persist: &persist
    description:
      - Also writes the settings to C(/etc/sysctl.d/90-netpath-egress.conf), so that they outlast a reboot. The file
        goes with the last setting in it.
      - Has no effect on settings inside a namespace, which are gone with it.
    type: bool
    default: true
  netns: &netns
    description: Namespace of the settings, by its name. Without it, the one of the host.
    type: str
  network: &network
    description:
      - Name of the network that needs the settings, 1 to 32 of C(a-z), C(0-9) and C(-). Without it, the host itself
        needs them.
    type: str
  state: &state
    description:
      - V(present) sets the sysctls and notes that the network needs them.
      - V(restored) ends all needs of O(network) in O(netns), and puts back each setting that nobody else needs. All
        other options are ignored. It is success where nothing was noted.
    type: str
    choices: [present, restored]
    default: present
  config:
    suboptions:
      ipv4: *ipv4
      ipv6: *ipv6
      interfaces: *interfaces
      accept_ra: *accept_ra
      rp_filter: *rp_filter
      bridge_nf_call: *bridge_nf_call
      persist: *persist
      netns: *netns
      network: *network
      state: *state
seealso:
  - module: netpath.egress.nat_masquerade
    description: Translates what is forwarded.
"""

EXAMPLES = r"""
- name: Let the host forward both families for a network
  netpath.egress.sysctl_forward:
    ipv4: true
    ipv6: true
    network: pods

- name: Do so for two networks in one run, with loose reverse path checks on a bridge
  netpath.egress.sysctl_forward:
    config:
      - ipv4: true
        ipv6: true
        network: pods
      - ipv4: true
        rp_filter: 2
        interfaces: [br0]
        network: lab

- name: Let a namespace forward between its interfaces
  netpath.egress.sysctl_forward:
    netns: ns2
    ipv4: true

- name: Put back what a network alone needed
  netpath.egress.sysctl_forward:
    network: lab
    state: restored
"""

RETURN = r"""
actions:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample:
    - note that pods needs net.ipv4.ip_forward = 1
    - set net.ipv4.ip_forward to 1 (was 0)
    - write /etc/sysctl.d/90-netpath-egress.conf
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
        setting net.ipv4.ip_forward:
          netns: ""
          value: "0"
    after:
      description: As they are now, or in check mode would be.
      type: str
      sample: |
        setting net.ipv4.ip_forward:
          netns: ""
          value: "1"
asked:
  description: What could not be done, or the option that is wrong.
  returned: failure
  type: str
  sample: set net.ipv4.ip_forward to 0 for lab
found:
  description: What stands in the way.
  returned: failure
  type: str
  sample: pods needs 1
advice:
  description: What to do about it.
  returned: failure
  type: str
  sample: Give both the same value
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import sysctl_forward
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(sysctl_forward.OPTIONS, sysctl_forward.wanted, looks_at_host=True)


if __name__ == "__main__":
    main()
