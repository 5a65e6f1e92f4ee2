#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_path
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Build the whole path of all networks of a host
description:
  - Brings namespaces, bridges, pairs, addresses, routes, settings and rules of the networks to what is asked for.
  - All networks are in one transaction. Where that fails for a reason of one network, the others are built without it,
    and the module fails with that reason. Where it fails for a reason inside a namespace or on its pair, that namespace
    alone is left as it is, while what its port may send and all else of its network is as asked for.
  - A reason of the host, such as another run that holds the lock, missing privileges, or a change that would take the
    way to the host, leaves all networks as they were.
  - A namespace that is no longer in a listed network is removed. A network that is not listed is left alone, with a
    warning, unless O(prune) is set.
  - It leaves the same state as the other modules of this collection, used one after the other.
  - In check mode it tells what differs, so that a task that must not change verifies a host.
options:
  only:
    description:
      - Names of namespaces in O(networks). Of all that are listed there, only these are looked at, made or changed, and
        none is removed. Bridges, rules and settings of the networks are looked at as ever, and what would take their
        gateway from the others is refused.
      - It makes a small change of a host with very many namespaces as quick as it is small.
    type: list
    elements: str
  prune:
    description:
      - Whether networks that the host was given before, and that O(networks) does not list, are removed. Without it
        they stay, and RV(unlisted) and a warning name them.
      - They are known by their files below C(/etc/netpath/networks.d), or by the addresses of their namespaces in the
        ledger. Networks that were built by other modules alone are not among them.
    type: bool
    default: false
  require:
    description:
      - Programs that must be there. Where one is not, nothing is done, and the module fails with RV(missing).
      - Without V(nft), networks are translated by iptables where the host has no nft.
    type: list
    elements: str
    choices: [nft]
    default: []
  state:
    description: With V(absent) all listed networks are removed, whatever their own state.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - netpath.egress.egress.networks
  - netpath.egress.egress
  - netpath.egress.egress.manage
  - netpath.egress.egress.confirm
  - netpath.egress.egress.nft
"""

EXAMPLES = r"""
- name: Build a network of three namespaces
  netpath.egress.egress_path:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
        namespaces: [ns1, ns2, ns3]

- name: Verify it
  netpath.egress.egress_path:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
        namespaces: [ns1, ns2, ns3]
  check_mode: true
  register: path
  failed_when: path.changed

- name: Add a namespace without a look at all the others
  netpath.egress.egress_path:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
        namespaces: [ns1, ns2, ns3, ns4]
    only: [ns4]

- name: Remove it
  netpath.egress.egress_path:
    networks:
      - name: pods
        bridge: br0
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or in check mode what would be done, in order.
  returned: success, or failure of some of the networks
  type: list
  elements: str
  sample: ["create namespace ns1", "create bridge br0", "set net.ipv4.ip_forward to 1 (was 0)"]
diff:
  description: The affected objects before and after, as YAML.
  returned: success, or failure of some of the networks
  type: dict
  contains:
    before:
      description: What was there.
      type: str
    after:
      description: What is there now.
      type: str
backends:
  description: What the rules are written for.
  returned: when there are any
  type: list
  elements: dict
  contains:
    name:
      description: The network.
      type: str
      sample: pods
    purpose:
      description: What the rules do, V(nat), V(forward) or V(mss).
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
networks:
  description: What came of each network, in the order of their names.
  returned: success, or failure of some of the networks
  type: list
  elements: dict
  contains:
    name:
      description: The network.
      type: str
      sample: pods
    status:
      description: One of V(changed), V(unchanged) and V(failed). In check mode, what it would be.
      type: str
      sample: changed
    changed:
      description: Whether something was changed that it asks for. What several networks ask for is of each of them.
      type: bool
    error:
      description:
        - Why it could not be built or removed, and was left as it was. Or which of its namespaces was left as it was,
          and why, while all else of it is as asked for. Empty where nothing stood in the way.
      type: str
    bridge:
      description: Its bridge. This and what follows, of a network that is present and did not fail.
      type: str
      sample: br-pods
    subnets:
      description: Its ranges.
      type: list
      elements: str
      sample: [10.22.33.0/24]
    gateways:
      description: The address of the bridge in each subnet.
      type: list
      elements: str
      sample: [10.22.33.1]
    namespaces:
      description: Its namespaces, in the order in which they are listed. In check mode, with what they would get.
      type: list
      elements: dict
      sample:
        - name: ns1
          interface: eth0
          host_interface: np-ns1
          addresses: [10.22.33.2/24]
          gateways: [10.22.33.1]
      contains:
        name:
          description: The namespace.
          type: str
        interface:
          description: Its interface.
          type: str
        host_interface:
          description: The other end of its pair, which is a port of the bridge.
          type: str
        addresses:
          description: Its addresses, with their prefix lengths.
          type: list
          elements: str
        gateways:
          description: For each address, by which gateway packets leave.
          type: list
          elements: str
unlisted:
  description: Networks of the host that O(networks) does not list, and that stay.
  returned: when there are any, without O(prune)
  type: list
  elements: str
  sample: [lab]
pruned:
  description:
    - Those that O(networks) does not list, and that were removed, or in check mode would be, as entries for
      M(netpath.egress.egress_program).
  returned: when there are any, with O(prune)
  type: list
  elements: dict
  sample: [{name: lab, state: absent}]
asked:
  description: What was asked for, or the option that is wrong.
  returned: failure
  type: str
  sample: networks[0].subnets
found:
  description: What stands in the way.
  returned: failure
  type: str
advice:
  description: What to do about it.
  returned: failure
  type: str
missing:
  description: What the host lacks, V(pyroute2) or one of O(require).
  returned: when it lacks something
  type: str
  sample: pyroute2
rolled_back:
  description: Whether the state before the run was restored after a step failed.
  returned: when a step failed
  type: bool
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.program.unlisted import unlisted
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import network, path, schema
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView
from ansible_collections.netpath.egress.plugins.module_utils._module import CONFIRMING, run_networks


def main() -> None:
    required = {"type": "list", "elements": "str", "choices": ["nft"], "default": []}
    options = {**path.OPTIONS, **CONFIRMING, "require": required}
    prune: dict[str, object] = {"type": "bool", "default": False}
    module = AnsibleModule(argument_spec={**options, "prune": prune}, supports_check_mode=True)
    absent = module.params["state"] == "absent"
    networks = module.params["networks"]
    others = {} if absent or module.params["only"] is not None else unlisted([one["name"] for one in networks])
    if module.params["prune"]:
        gone = {"state": "absent", "namespaces": [], "publish": []}
        networks += [schema.checked({**entry, **gone}, network.OPTIONS, name) for name, entry in others.items()]
    elif others:
        module.warn(
            f"managed on this host and not listed: {', '.join(others)}. They stay, and are built at boot; "
            "list them with state absent, or set egress_prune (prune)"
        )
    views: list[HostView] = []
    run_networks(
        module,
        _names(networks, absent),
        lambda host, names: path.wanted(module.params, host, files=True, chosen=names, seen=views.append),
        check=lambda: network.parse_networks(networks, "networks", absent),
        programs=module.params["require"],
        more=_told(others, module.params["prune"]),
        describe=lambda names: path.described(network.parse_networks(networks, "networks", absent), views[-1], names),
    )


def _told(others: t.Collection[str], pruned: bool) -> dict[str, t.Any]:
    """What is returned of networks that are not listed."""
    if not others:
        return {}
    return {"pruned": [{"name": name, "state": "absent"} for name in others]} if pruned else {"unlisted": list(others)}


def _names(networks: list[dict[str, object]], absent: bool) -> list[str]:
    """Those that are removed come first, as others may need what they free."""
    ordered = sorted(networks, key=lambda one: not (absent or one["state"] == "absent"))
    return [str(one["name"]) for one in ordered]


if __name__ == "__main__":
    main()
