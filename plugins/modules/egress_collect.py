#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_collect
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Remove what crashes and removals by others have left
description:
  - Removes ends of pairs of ours whose other end is in no namespace that a name or a process leads to.
  - What else seems to be needed by nobody is listed with what says so, and removed only by O(handles) and O(networks).
  - Each is looked for again right before it is removed.
options:
  handles:
    description: Names below C(/run/netns) that are to be removed, as they are no namespaces.
    type: list
    elements: str
    default: []
  networks:
    description:
      - Networks whose rules are to be removed, as no link of the host has their mark. They might be for links of
        somebody else, which nobody knows but you.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.manage
"""

EXAMPLES = r"""
- name: Remove what leads nowhere, and list the rest
  netpath.egress.egress_collect:
  register: collected

- name: Say what is left
  ansible.builtin.debug:
    var: collected.orphans
"""

RETURN = r"""
orphans:
  description: What seemed to be needed by nobody, as in M(netpath.egress.egress_info), before anything was removed.
  returned: success
  type: list
  elements: dict
actions:
  description: What was done or, in check mode, would be done, in order.
  returned: success
  type: list
  elements: str
  sample: [delete veth np-ns1]
diff:
  description: What is affected, as YAML.
  returned: success
  type: dict
  contains:
    before:
      description: Before the run.
      type: str
    after:
      description: After the run.
      type: str
      sample: ""
asked:
  description: What of the request could not be done.
  returned: failure
  type: str
  sample: handles
found:
  description: What stood in its way.
  returned: failure
  type: str
  sample: "'ns1' is no handle without a namespace"
advice:
  description: What to do, empty where there is nothing to say.
  returned: failure
  type: str
  sample: there are left
rolled_back:
  description: Whether a run that failed half way put back what it had changed.
  returned: when it failed half way
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.collector import collect
from ansible_collections.netpath.egress.plugins.module_utils._module import fail, require_pyroute2


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(argument_spec={"handles": names, "networks": names}, supports_check_mode=True)
    require_pyroute2(module)
    try:
        done = collect(module.params["handles"], module.params["networks"], module.check_mode)
    except EgressError as error:
        fail(module, error)
    result = done.result
    module.exit_json(changed=result.changed, actions=result.actions, diff=result.diff, orphans=done.orphans)


if __name__ == "__main__":
    main()
