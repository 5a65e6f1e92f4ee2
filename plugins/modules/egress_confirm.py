#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_confirm
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Have a change stay that may have cut the way to the host
description:
  - A change of what carries the way to the host, such as the MTU of the uplink, is put back unless the controller
    confirms it in time. The modules of this collection that make such changes call this by themselves.
  - It can be called in a task of its own after a task that ran with C(async).
options:
  token:
    description: The C(token) in the result of the change.
    type: str
    required: true
extends_documentation_fragment:
  - netpath.egress.egress
attributes:
  check_mode:
    description: Does nothing in check mode, in which there is no change to confirm.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: full
  idempotent:
    description: Until the next run, the last change that was confirmed may be confirmed again.
    support: full
"""

EXAMPLES = r"""
- name: Change how the uplink filters, in the background
  netpath.egress.sysctl_forward:
    rp_filter: 1
    interfaces: [uplink0]
    confirm_within: 30
  async: 60
  poll: 0
  register: started

- name: Wait for it
  ansible.builtin.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: finished
  until: finished.finished
  retries: 60
  delay: 1

- name: The host can still be reached
  netpath.egress.egress_confirm:
    token: "{{ finished.unconfirmed.token }}"
  when: finished.unconfirmed is defined
"""

RETURN = r"""
asked:
  description: What of the request could not be done.
  returned: failure
  type: str
  sample: confirm the change
found:
  description: What stood in its way.
  returned: failure
  type: str
  sample: "it was put back, as that did not come in time"
advice:
  description: What to do, empty where there is nothing to say.
  returned: failure
  type: str
  sample: The state before this run was restored
rolled_back:
  description: Whether the state before the change was restored.
  returned: when the change was put back
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._module import fail, require_pyroute2


def main() -> None:
    module = AnsibleModule(
        argument_spec={"token": {"type": "str", "required": True, "no_log": False}}, supports_check_mode=True
    )
    try:
        if not module.check_mode:
            require_pyroute2(module)
            from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction import confirmation

            confirmation.confirm(module.params["token"])
    except EgressError as error:
        fail(module, error)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
