#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: conntrack
short_description: Size and timeouts of connection tracking, and ending tracked connections
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Sets how many connections are tracked and for how long, and remembers what the values were, as
    M(netpath.egress.sysctl_forward) does.
  - A value that this host cannot set is refused before anything changes. O(max) and O(buckets) can only be set in the
    initial network namespace of the machine, so neither in a container nor with O(netns).
  - Deletes tracked connections that fit a description. Translation is decided once for each connection, so one that
    began before a rule changed keeps what it had until it is deleted.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
options:
  max: &max
    description: How many connections are tracked at most, C(net.netfilter.nf_conntrack_max).
    type: int
  buckets: &buckets
    description:
      - Size of the hash table, C(net.netfilter.nf_conntrack_buckets). It is rounded up to whole pages of memory, which
        hold 512 on most machines.
      - A fourth of O(max) or more keeps lookups fast.
    type: int
  timeouts: &timeouts
    description:
      - Seconds after which an idle connection is forgotten, by protocol and state, such as C(tcp_established),
        C(tcp_time_wait), C(udp), C(udp_stream), C(icmp) or C(generic).
      - V(tcp_established) stands for C(net.netfilter.nf_conntrack_tcp_timeout_established). A name that the kernel does
        not know is refused, and the error lists those that it knows.
    type: dict
  flush: &flush
    description:
      - Deletes the tracked connections that fit all that is given. It is no change where there are none.
      - A connection that goes on is tracked again from its next packet, by the rules of then.
    type: dict
    suboptions:
      source:
        description: Address or network of the side that began.
        type: str
      destination:
        description: Address or network that it asked for, before any translation.
        type: str
      protocol:
        description: V(tcp), V(udp), V(icmp), V(icmpv6), V(sctp), V(dccp), V(gre), V(udplite), or a number.
        type: str
  persist: &persist
    description:
      - Also writes the values to C(/etc/sysctl.d/90-netpath-egress.conf), so that they outlast a reboot, if
        C(nf_conntrack) is loaded by then.
      - Has no effect on values inside a namespace, which are gone with it.
    type: bool
    default: true
  netns: &netns
    description: Namespace, by its name. Without it, the one of the host.
    type: str
  network: &network
    description:
      - Name of the network that needs the values, 1 to 32 of C(a-z), C(0-9) and C(-). Without it, the host itself needs
        them. Two networks that need different values are refused.
    type: str
  state: &state
    description:
      - V(present) sets the values and notes that the network needs them.
      - V(restored) ends what O(network) needs of connection tracking in O(netns), and puts back each value that nobody
        else needs. All other options are ignored. It is success where nothing was noted.
    type: str
    choices: [present, restored]
    default: present
  config:
    suboptions:
      max: *max
      buckets: *buckets
      timeouts: *timeouts
      flush: *flush
      persist: *persist
      netns: *netns
      network: *network
      state: *state
seealso:
  - module: netpath.egress.nat_masquerade
    description: Ends by itself the connections that its changes affect.
"""

EXAMPLES = r"""
- name: Forget idle connections sooner
  netpath.egress.conntrack:
    timeouts:
      tcp_established: 86400
      udp: 20
    network: pods

- name: Track a million connections on a machine of its own
  netpath.egress.conntrack:
    max: 1048576
    buckets: 262144
  when: ansible_facts.virtualization_role != "guest" or "container" not in ansible_facts.virtualization_tech_guest

- name: End the flows of one namespace to name servers
  netpath.egress.conntrack:
    flush:
      source: 10.22.33.2
      protocol: udp

- name: Put back what a network alone needed
  netpath.egress.conntrack:
    network: pods
    state: restored
"""

RETURN = r"""
actions:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample:
    - note that pods needs net.netfilter.nf_conntrack_udp_timeout = 20
    - set net.netfilter.nf_conntrack_udp_timeout to 20 (was 30)
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
        setting net.netfilter.nf_conntrack_udp_timeout:
          netns: ""
          value: "30"
    after:
      description: As they are now, or in check mode would be.
      type: str
      sample: |
        setting net.netfilter.nf_conntrack_udp_timeout:
          netns: ""
          value: "20"
asked:
  description: What could not be done, or the option that is wrong.
  returned: failure
  type: str
  sample: set net.netfilter.nf_conntrack_max to 1048576
found:
  description: What stands in the way.
  returned: failure
  type: str
  sample: it can only be read here, and is 262144
advice:
  description: What to do about it.
  returned: failure
  type: str
  sample: "Set it where the kernel allows it: on the machine itself, not inside it"
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import conntrack
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(conntrack.OPTIONS, conntrack.wanted)


if __name__ == "__main__":
    main()
