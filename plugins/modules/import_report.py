#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: import_report
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Show on the controller the networks that M(netpath.egress.egress_import) found on many hosts
description:
  - Shows the networks of each host as YAML, with a comment on each thing that has no place in them.
  - Writes the same as one file of variables for each host, to be used in C(host_vars).
  - It reads the registered results of all hosts itself. Run it once a play (C(run_once)), with the strategy linear.
  - It does not fail for what it finds. RV(failing) says for which hosts a play should.
options:
  hosts:
    description: The hosts whose results are shown.
    type: list
    elements: str
    required: true
  result:
    description: The name of the variable that M(netpath.egress.egress_import) was registered in.
    type: str
    required: true
  directory:
    description:
      - A folder on the controller for a file C(HOST.yml) of each host that has networks. It is made if it is missing.
        Relative paths begin where C(ansible-playbook) was started.
      - A file that this module wrote is replaced as a whole, and one of somebody else's never.
      - They are written in check mode too, since they are what was asked for, and no state of a host.
      - Empty for no files.
    type: str
    default: ""
extends_documentation_fragment:
  - netpath.egress.egress.controller
"""

EXAMPLES = r"""
- name: Read what is there
  netpath.egress.egress_import:
  register: imported
  ignore_errors: true
  ignore_unreachable: true

- name: Write it as variables
  netpath.egress.import_report:
    hosts: "{{ ansible_play_hosts_all }}"
    result: imported
    directory: host_vars
  register: report
  run_once: true
"""

RETURN = r"""
lines:
  description: What was shown, line by line.
  returned: success
  type: list
  elements: str
failing:
  description: For each host that told nothing, or whose file was not written, the reason.
  returned: success
  type: dict
  sample: {web1: "/srv/host_vars/web1.yml is somebody else's. Move it away, or name another folder"}
files:
  description: The paths of what was written.
  returned: success
  type: list
  elements: str
  sample: [/srv/host_vars/web2.yml]
"""
