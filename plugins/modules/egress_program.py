#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_program
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Install the program netpath-egress, which builds at boot and diagnoses without Ansible
description:
  - Writes one executable file, which has all of the engine that it needs. On the node it needs Python and pyroute2.
  - Writes a file for each network below C(/etc/netpath/networks.d), which C(netpath-egress apply) and
    C(netpath-egress check) read. It has the addresses of the namespaces as well, so that they stay the same.
  - A file that is no such program, or no such network, is neither replaced nor removed.
options:
  path:
    description: Where the program shall be. Its directory must be there.
    type: str
    default: /usr/local/sbin/netpath-egress
  interpreter:
    description:
      - The Python that shall run it.
      - Without it, C(/usr/bin/python3) where that has pyroute2, and else that of this module.
    type: str
  persist:
    description:
      - Whether systemd builds the listed networks at boot, by C(netpath-egress@NETWORK.service). Without it, and on
        hosts without systemd, there is no such unit.
    type: bool
    default: false
  watch:
    description:
      - Whether systemd has C(netpath-egress watch) look at the networks now and then, and what that does with what
        differs - V(report) writes it to the journal, V(repair) puts it right as well.
      - It writes metrics for node_exporter where the directory of its textfile collector is there, see
        C(netpath-egress watch --help).
    type: str
    choices: ["off", report, repair]
    default: "off"
  watch_interval:
    description: Seconds from the end of a look to the next, 10 to 604800.
    type: int
    default: 300
  state:
    description:
      - With V(absent) the files of the listed networks are removed, and the program with the last file of any network.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - netpath.egress.egress
  - netpath.egress.egress.networks
  - netpath.egress.egress.manage
"""

EXAMPLES = r"""
- name: Install the program, and say what it checks
  netpath.egress.egress_program:
    networks:
      - name: pods
        subnets: [10.22.33.0/24, "fd00:22:33::/64"]
        namespaces: [ns1, ns2, ns3]

- name: Install it alone, for another Python
  netpath.egress.egress_program:
    networks: []
    interpreter: /opt/python/bin/python3

- name: Remove both
  netpath.egress.egress_program:
    networks:
      - name: pods
    state: absent
"""

RETURN = r"""
persisted:
  description: Whether systemd builds the networks at boot.
  returned: success
  type: bool
actions:
  description: What was done or, in check mode, would be done, in order.
  returned: success
  type: list
  elements: str
  sample: [write /etc/netpath/networks.d/pods.json, write /usr/local/sbin/netpath-egress]
diff:
  description: The affected files, as YAML. Of the program it has the SHA-256 sum.
  returned: success
  type: dict
  contains:
    before:
      description: Before the run.
      type: str
      sample: ""
    after:
      description: After the run.
      type: str
      sample: "file /usr/local/sbin/netpath-egress:\n  content: \"sha256 5f2b\"\n  mode: '0755'\n"
asked:
  description: What of the request could not be done.
  returned: failure
  type: str
  sample: write /usr/local/sbin/netpath-egress
found:
  description: What stood in its way.
  returned: failure
  type: str
  sample: somebody else's file has this name
advice:
  description: What to do, empty where there is nothing to say.
  returned: failure
  type: str
  sample: Move it away
rolled_back:
  description: Whether a run that failed half way put back what it had changed.
  returned: when it failed half way
  type: bool
  sample: true
"""

import os
import subprocess
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import message_classes
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import bundle, installation, units
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import network, schema
from ansible_collections.netpath.egress.plugins.module_utils._module import fail, require_pyroute2


def _interpreter() -> str:
    """The distribution's where it has pyroute2: an environment that Ansible runs in may be gone at the next boot."""
    try:
        message_classes.version()
    except ImportError:
        return bundle.INTERPRETER
    own = sys.executable or bundle.INTERPRETER
    return (
        own
        if os.path.dirname(own) == os.path.dirname(bundle.INTERPRETER) or not _has_pyroute2()
        else bundle.INTERPRETER
    )


def _has_pyroute2() -> bool:
    """Whether the distribution's Python has a pyroute2 that is new enough."""
    ask = "import importlib.metadata as packages; print(packages.version('pyroute2'))"
    try:
        told = subprocess.run([bundle.INTERPRETER, "-c", ask], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return told.returncode == 0 and not message_classes.too_old(told.stdout)


def main() -> None:
    options = {
        "networks": network.NETWORKS,
        "path": {"type": "str", "default": installation.PATH},
        "interpreter": {"type": "str"},
        "persist": {"type": "bool", "default": False},
        "watch": {"type": "str", "choices": list(installation.WATCH), "default": installation.OFF},
        "watch_interval": {"type": "int", "default": 300},
        "state": schema.STATE,
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    asked = module.params
    try:
        result = installation.install(
            installation.Asked(
                asked["path"],
                asked["interpreter"] or _interpreter(),
                asked["networks"],
                absent=asked["state"] == "absent",
                persist=asked["persist"],
                watch=asked["watch"],
                interval=asked["watch_interval"],
            ),
            check=module.check_mode,
        )
    except EgressError as error:
        fail(module, error)
    except ImportError:
        # Only the addresses of namespaces that are there take it.
        require_pyroute2(module)
        raise
    persisted = asked["persist"] and units.runs_here()
    if asked["persist"] and not persisted and asked["state"] == "present":
        module.warn("There is no systemd here that could build the networks at boot")
    module.exit_json(changed=result.changed, actions=result.actions, diff=result.diff, persisted=persisted)


if __name__ == "__main__":
    main()
