#!/usr/bin/python
# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_report
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Put together on the controller what M(netpath.egress.egress_check) told of many hosts
description:
  - Shows what is wrong on all hosts, the worst first and grouped by what it is, with all that is healthy in one line.
  - Writes it as JSON, as JUnit XML, and as one HTML file that needs no network.
  - Compares it with an earlier report.
  - It reads the registered results of all hosts itself. Run it once a play (C(run_once)), with the strategy linear.
  - It does not fail for what it finds. RV(failing) says for which hosts a play should.
options:
  hosts:
    description:
      - The hosts whose results are put together. One that was not reached, or whose check failed, is listed with the
        reason.
    type: list
    elements: str
    required: true
  result:
    description: The name of the variable that the check was registered in.
    type: str
    required: true
  directory:
    description:
      - A folder on the controller for C(report.json), C(junit.xml) and C(report.html). It is made if it is missing, and
        each file is replaced as a whole. Relative paths begin where C(ansible-playbook) was started.
      - They are written in check mode too, since they are what was asked for, and no state of a host.
      - Empty for no files.
    type: str
    default: ""
  previous:
    description:
      - The path of an earlier C(report.json) to compare with. A file that is damaged or something else is a warning.
      - Without, it is the one that is in O(directory) before it is replaced.
    type: str
    default: ""
  query:
    description:
      - A JMESPath expression that selects what the summary shows, and what counts for RV(failing). It needs the Python
        package jmespath on the controller.
      - It is given a list of objects with C(host), C(namespace), C(network), C(family), C(status), C(code), C(hop),
        C(direction), C(tier), C(evidence), C(fix) and C(summary), and returns some of them.
      - A host without an answer is one with the status V(unknown) and the code V(NO_ANSWER). It is kept, unless the
        expression speaks of that code.
    type: str
    default: ""
  fail_on:
    description:
      - The status from which on a host is in RV(failing). A host without an answer is, too, unless this is
        V(never).
    type: str
    choices: [broken, degraded, unknown, never]
    default: broken
notes:
  - The summary has colours on a terminal alone. E(NO_COLOR), E(ANSIBLE_NOCOLOR) and E(ANSIBLE_FORCE_COLOR) are
    honoured.
requirements:
  - jmespath, on the controller, for O(query)
extends_documentation_fragment:
  - netpath.egress.egress.controller
"""

EXAMPLES = r"""
- name: Check the paths of this host
  netpath.egress.egress_check:
    networks: "{{ egress_networks }}"
  register: checked
  ignore_errors: true
  ignore_unreachable: true

- name: Report what is wrong on all hosts
  netpath.egress.diagnosis_report:
    hosts: "{{ ansible_play_hosts_all }}"
    result: checked
    directory: reports
    query: "[?tier!='advise']"
  register: report
  run_once: true

- name: Stop where something is broken
  ansible.builtin.fail:
    msg: "{{ report.failing[inventory_hostname] | join('; ') }}"
  when: inventory_hostname in report.failing
"""

RETURN = r"""
summary:
  description: What was shown, line by line.
  returned: success
  type: list
  elements: str
  sample:
    - "BROKEN FORWARDING_OFF at host_forwarding: 3 paths on 2 hosts: the host does not forward IPv4"
    - "  web1/a ipv4, web2/a ipv4, web2/b ipv4"
    - "  seen: net.ipv4.ip_forward = 0"
    - "  fix (declared): run the role egress"
    - "OK: 37 paths on 20 hosts"
failing:
  description: For each host that is as bad as O(fail_on) what is wrong with it.
  returned: success
  type: dict
  sample: {web1: ["a (IPv4): the host does not forward IPv4"]}
counts:
  description: How many hosts, hosts without an answer, and paths there are, and paths of each status.
  returned: success
  type: dict
  sample: {hosts: 20, no_answer: 0, paths: 40, broken: 3, degraded: 0, unknown: 0, ok: 37}
history:
  description:
    - What broke, healed, or is wrong in another way since the earlier report, or none without one.
  returned: success
  type: dict
  contains:
    previous:
      description: When the earlier report was written.
      type: str
    broke:
      description: Each path with its status and code before and after.
      type: list
      elements: dict
    healed:
      description: The same.
      type: list
      elements: dict
    changed:
      description: The same.
      type: list
      elements: dict
files:
  description: The paths of what was written.
  returned: success
  type: list
  elements: str
  sample: [/srv/reports/junit.xml, /srv/reports/report.html, /srv/reports/report.json]
"""
