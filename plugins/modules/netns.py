#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: netns
short_description: Make, name and remove network namespaces
version_added: 1.0.0
author:
  - netpath.egress contributors (@netpath)
description:
  - Makes network namespaces with a name below C(/run/netns), as C(ip netns) does, or names one that exists.
  - Sets up what belongs to a namespace itself, its loopback, its sysctls and its C(resolv.conf).
  - A namespace made by this module carries a mark from birth, C(netpath:) and the network's name, as the interface
    alias of its loopback. One that was there before is brought to the wanted state, but it is never marked, and so
    it is never removed.
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.config
options:
  name: &name
    description:
      - Name of the namespace, 1 to 64 letters, digits, C(_), C(-) and C(.), but not C(.) or C(..).
      - Either this or O(config) is required.
    type: str
  attach: &attach
    description:
      - Gives a name to a namespace that has none, for example that of a container.
      - The PID of a process in it, or the absolute path of its handle, such as C(/proc/1234/ns/net).
      - It is looked at only as long as the name is not taken. Such a namespace stays somebody else's and gets no
        mark; O(state=absent) takes the name away again, and the namespace lives on as long as a program does in it.
    type: str
  loopback: &loopback
    description:
      - Brings the loopback interface up. V(false) leaves it as it is.
    type: bool
    default: true
  dns: &dns
    description:
      - What C(/etc/netns/NAME/resolv.conf) holds, which C(ip netns exec) puts in place of C(/etc/resolv.conf).
      - Leaving this out leaves the file as it is.
    type: dict
    suboptions:
      servers:
        description: Addresses of one to three name servers. An empty list removes the file if this collection wrote it.
        type: list
        elements: str
        required: true
      search:
        description: Domains that are searched for short names.
        type: list
        elements: str
        default: []
  sysctls: &sysctls
    description:
      - Sysctls inside the namespace with their values, such as C(net.ipv4.ip_forward) with V(1).
      - Only keys below C(net) belong to a namespace, and only those are allowed. Dots in the name of an interface need
        the form with slashes, C(net/ipv4/conf/eth0.5/rp_filter).
    type: dict
  force: &force
    description:
      - Removes the name also while processes live in the namespace. They stay, in a namespace without a name.
      - Otherwise O(state=absent) refuses, naming their PIDs and commands.
    type: bool
    default: false
  network: &network
    description:
      - Name of the network that this is made for, 1 to 32 of C(a-z), C(0-9) and C(-), as its label.
      - What this module makes carries the mark C(netpath:) with this name as its interface alias. What was there
        before is brought to the wanted state, but it is never marked and so never removed.
      - An object that carries the mark of another network is refused. Without a name the mark is C(netpath:) alone.
    type: str
  state: &state
    description:
      - V(present) brings the namespace to the wanted state.
      - V(absent) removes the namespace, and its C(resolv.conf) where this module wrote it. It is success where there is
        none, and refused for a namespace that does not carry the mark.
    type: str
    choices: [present, absent]
    default: present
  config:
    suboptions:
      name:
        <<: *name
        required: true
      attach: *attach
      loopback: *loopback
      dns: *dns
      sysctls: *sysctls
      force: *force
      network: *network
      state: *state
seealso:
  - module: netpath.egress.veth
    description: Connects a namespace to the host or to another one.
"""

EXAMPLES = r"""
- name: Make a namespace
  netpath.egress.netns:
    name: ns1
    network: pods

- name: Make two namespaces in one run, each with a resolver of its own
  netpath.egress.netns:
    config:
      - name: ns1
        network: pods
        dns:
          servers: [198.51.100.80]
          search: [example.org]
      - name: ns2
        network: pods
        dns:
          servers: [198.51.100.80, "2001:db8:51::80"]

- name: Refuse redirects inside a namespace
  netpath.egress.netns:
    name: ns2
    network: pods
    sysctls:
      net.ipv4.conf.all.accept_redirects: 0
      net.ipv6.conf.all.accept_redirects: 0

- name: Give the namespace of a running program a name
  netpath.egress.netns:
    name: app
    attach: "{{ app_pid }}"
  when: app_pid is defined

- name: Remove a namespace
  netpath.egress.netns:
    name: ns9
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample: ["create namespace ns1", "write /etc/netns/ns1/resolv.conf"]
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
        namespace ns1:
          name: "ns1"
          alias: "netpath:pods"
          loopback: true
asked:
  description: What could not be done, or the option that is wrong.
  returned: failure
  type: str
  sample: delete namespace ns1
found:
  description: What stands in the way.
  returned: failure
  type: str
  sample: "processes live in it: 1234 (sleep)"
advice:
  description: What to do about it.
  returned: failure
  type: str
  sample: End them first. The option force of the module netns takes away its name alone
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
  sample: true
"""

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import netns
from ansible_collections.netpath.egress.plugins.module_utils._module import run_module


def main() -> None:
    run_module(netns.OPTIONS, netns.wanted)


if __name__ == "__main__":
    main()
