#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ns_route
short_description: Add, change and remove routes, also inside namespaces
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Adds a route, in the namespace of the host or in another one, or replaces it where it leads elsewhere.
  - A route is the same one as another if namespace, table, destination and metric are the same.
  - What this module adds carries routing protocol 250, which is how it is known as its own.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
options:
  dest: &dest
    description:
      - Destination, V(default) or a network such as V(10.44.0.0/16). An address alone is a network of one.
      - Either this or O(config) is required.
    type: str
  netns: &netns
    description: Namespace of the route, by its name. Without it, the one of the host.
    type: str
  gateway: &gateway
    description:
      - Address of the next hop, of the same family as the destination.
      - A link-local one needs O(device). A route of type V(unicast) needs a gateway, a device or both.
    type: str
  device: &device
    description: Interface that the route leaves by.
    type: str
  source: &source
    description: Source address of packets that this host itself sends on the route. Leaving it out leaves it as it is.
    type: str
  metric: &metric
    description:
      - Metric of the route; the lowest one wins. Part of what identifies a route.
      - Without it, 0 for IPv4 and 1024 for IPv6, as the kernel has it.
    type: int
  table: &table
    description: Routing table, V(main), V(default), V(local), or a number.
    type: str
    default: main
  type: &type
    description:
      - Type of the route. Any but V(unicast) lead nowhere, so they have no gateway and no device.
      - V(blackhole) drops in silence, V(unreachable) and V(prohibit) answer with an ICMP error.
    type: str
    choices: [unicast, blackhole, unreachable, prohibit]
    default: unicast
  mtu: &mtu
    description: MTU of the path, 68 to 65535. Leaving it out leaves it as it is.
    type: int
  onlink: &onlink
    description: Takes the gateway for reachable on the link, even where no route says so.
    type: bool
  family: &family
    description:
      - Family of a default route without a gateway. Otherwise it follows from O(dest), O(gateway) or O(source), and is
        V(ipv4) where none of them tells.
    type: str
    choices: [ipv4, ipv6]
  network: &network
    description:
      - Name of the network that this is made for, 1 to 32 of C(a-z), C(0-9) and C(-).
      - A route has no room for a mark, so the name is written down on the host. The role takes the route away where the
        network has no subnet like O(dest) any more.
    type: str
  state: &state
    description:
      - V(present) brings the route to the wanted state. A default route of the host that somebody else made is not
        replaced.
      - V(absent) removes the route. It is success where there is none. One that was there before and was changed gets
        back what it was; one that somebody else made is refused.
    type: str
    choices: [present, absent]
    default: present
  config:
    suboptions:
      dest:
        <<: *dest
        required: true
      netns: *netns
      gateway: *gateway
      device: *device
      source: *source
      metric: *metric
      table: *table
      type: *type
      mtu: *mtu
      onlink: *onlink
      family: *family
      network: *network
      state: *state
seealso:
  - module: netpath.egress.veth
    description: Makes the interface that the route leaves by.
"""

EXAMPLES = r"""
- name: Give a namespace its default route
  netpath.egress.ns_route:
    netns: ns1
    dest: default
    gateway: 10.22.33.1

- name: Give two namespaces their default routes of both families in one run
  netpath.egress.ns_route:
    config:
      - netns: ns1
        dest: default
        gateway: 10.22.33.1
      - netns: ns1
        dest: default
        gateway: fd00:22:33::1
      - netns: ns2
        dest: default
        gateway: 10.22.33.1
      - netns: ns2
        dest: default
        gateway: fd00:22:33::1

- name: Drop what goes to a private range instead of sending it upstream
  netpath.egress.ns_route:
    dest: 10.44.0.0/16
    type: blackhole

- name: Add a default route to a table of its own, for packets up to 1400 bytes
  netpath.egress.ns_route:
    netns: ns2
    dest: default
    device: eth0
    gateway: 10.22.33.1
    table: "100"
    mtu: 1400

- name: Remove a route
  netpath.egress.ns_route:
    dest: 10.45.0.0/16
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample:
    - add route default via 10.22.33.1 in namespace ns1
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
        route ns1 254 0.0.0.0/0 0:
          netns: "ns1"
          destination: "0.0.0.0/0"
          type: "unicast"
          gateway: "10.22.33.1"
asked:
  description: What could not be done, or the option that is wrong.
  returned: failure
  type: str
  sample: replace the default route of this host
found:
  description: What stands in the way.
  returned: failure
  type: str
  sample: it goes via 198.51.100.1 and is not ours
advice:
  description: What to do about it.
  returned: failure
  type: str
  sample: Use another metric or table
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import ns_route
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(ns_route.OPTIONS, ns_route.wanted)


if __name__ == "__main__":
    main()
