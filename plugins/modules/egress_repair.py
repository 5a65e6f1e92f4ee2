#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_repair
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Put right what cuts namespaces off, as far as it is allowed
description:
  - Finds out as M(netpath.egress.egress_check) does what is wrong with the networks, decides by tier what is repaired,
    builds that, and looks again. A network on which nothing is wrong is not touched.
  - What makes any path of the networks worse is put back. So is what fails half way.
  - Each network is repaired by itself, and each repair is a line in C(/var/log/netpath/audit.jsonl).
  - It does not fail for what it leaves, and not for a repair that was put back. RV(failed_networks) has these.
options:
  targets:
    description:
      - Where to send packets, as in M(netpath.egress.egress_check).
    type: list
    elements: str
    default: []
  probe:
    description: Whether to send packets. Without, only what can be seen is found.
    type: bool
    default: true
  tiers:
    description:
      - What may be repaired. V(auto) are objects of ours, V(declared) are settings of the host that networks ask for.
      - Where a repair takes what is not allowed, nothing of it is done.
    type: list
    elements: str
    choices: [auto, declared]
    default: [auto, declared]
  codes:
    description:
      - What is repaired besides, and ends something that somebody may need.
      - With V(DANGLING_VETH) and V(LEAKED_NAMESPACE) the link is taken from the namespace without a name that has it.
        The processes in it are not ended.
      - With V(STALE_HANDLE) an empty file below C(/run/netns), which is no namespace, gives way to one.
    type: list
    elements: str
    choices: [DANGLING_VETH, LEAKED_NAMESPACE, STALE_HANDLE]
    default: []
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.networks
  - netpath.egress.egress.manage
"""

EXAMPLES = r"""
- name: Put right what is ours, and what the networks ask of the host
  netpath.egress.egress_repair:
    networks:
      - name: pods
        subnets: [10.22.33.0/24]
        namespaces: [ns1, ns2]
  register: repaired

- name: Say what is left
  ansible.builtin.debug:
    var: repaired.left
"""

RETURN = r"""
actions:
  description: What was done or, in check mode, would be done, in order.
  returned: success
  type: list
  elements: str
  sample: ["change veth np-ns1: master none -> br-pods"]
before:
  description: The verdicts before, as of M(netpath.egress.egress_check).
  returned: success
  type: list
  elements: dict
after:
  description: Those after the repair, the same as before where nothing was done.
  returned: success
  type: list
  elements: dict
repaired:
  description: The codes that were repaired or tried to be, by network.
  returned: success
  type: dict
  sample: {pods: [PORT_NOT_ON_BRIDGE]}
left:
  description: The codes that were left alone, by network, and why.
  returned: success
  type: dict
  sample: {pods: {UPLINK_DOWN: "for a person: restore the uplink"}}
failed_networks:
  description: The networks whose repair failed or made something worse, and why. They are as they were.
  returned: success
  type: dict
  sample: {}
audit:
  description: The lines of the audit that the host got.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: When it was done, in UTC.
      type: str
    by:
      description: V(remediate).
      type: str
    network:
      description: The network.
      type: str
    actions:
      description: What was done.
      type: list
      elements: str
    before:
      description: By namespace and family, the code of what was wrong, or the status where nothing was.
      type: dict
    after:
      description: The same after the repair.
      type: dict
    error:
      description: Why it failed and was put back, empty where it did not.
      type: str
  sample:
    - time: "2026-11-21T18:40:11Z"
      by: remediate
      network: pods
      actions: ["change veth np-ns1: master none -> br-pods"]
      before: {ns1 ipv4: PORT_NOT_ON_BRIDGE}
      after: {ns1 ipv4: ok}
      error: ""
asked:
  description: What of the request could not be done.
  returned: failure
  type: str
  sample: networks[0].subnets[0]
found:
  description: What stood in its way.
  returned: failure
  type: str
  sample: "'10.22.33.0' is no network"
advice:
  description: What to do, empty where there is nothing to say.
  returned: failure
  type: str
  sample: ""
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair import decision, repair
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import network, path
from ansible_collections.netpath.egress.plugins.module_utils._module import fail, require_pyroute2


def main() -> None:
    options = {
        "networks": path.OPTIONS["networks"],
        "targets": {"type": "list", "elements": "str", "default": []},
        "probe": {"type": "bool", "default": True},
        "tiers": {
            "type": "list",
            "elements": "str",
            "choices": list(decision.TIERS),
            "default": list(decision.TIERS),
        },
        "codes": {"type": "list", "elements": "str", "choices": list(decision.BY_NAME), "default": []},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    asked = module.params
    try:
        network.parse_networks(asked["networks"], "networks")
        wanted = targets.parsed(asked["targets"], "targets")
        require_pyroute2(module)
        request = repair.Asked(asked["networks"], wanted, asked["tiers"], asked["codes"], asked["probe"])
        outcome = repair.repair(request, module.check_mode)
    except EgressError as error:
        fail(module, error)
    for why in outcome.unwritten:
        module.warn(why)
    module.exit_json(**_told(outcome))


def _told(outcome: repair.Outcome) -> dict[str, t.Any]:
    actions = [action for done in outcome.actions.values() for action in done]
    return {
        "changed": bool(actions),
        "actions": actions,
        "diff": outcome.diff,
        "before": outcome.before,
        "after": outcome.after,
        "repaired": {one.network: one.codes for one in outcome.decisions if one.repaired},
        "left": {one.network: dict(one.left) for one in outcome.decisions if one.left},
        "audit": [dataclasses.asdict(line) for line in outcome.lines],
        "failed_networks": {name: str(error) for name, error in outcome.failed.items()},
    }


if __name__ == "__main__":
    main()
