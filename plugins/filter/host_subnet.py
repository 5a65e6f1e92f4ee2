# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter host_subnet."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = """
name: host_subnet
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: The block of a cluster range that belongs to one host
description:
  - Divides a range into blocks of equal size and returns the one with the given number.
  - Each host of an inventory gets its own block, and no two blocks overlap.
positional: _input, index, prefix
options:
  _input:
    description: The cluster range, as a CIDR of either family.
    type: str
    required: true
  index:
    description: The number of the block, from 0.
    type: int
    required: true
  prefix:
    description: The prefix length of a block.
    type: int
    required: true
"""

EXAMPLES = """
- name: Show the block of each host
  ansible.builtin.debug:
    msg: "{{ '10.128.0.0/14' | netpath.egress.host_subnet(groups['all'].index(inventory_hostname), 24) }}"
"""

RETURN = """
_value:
  description: The block, as a CIDR.
  type: str
"""


def host_subnet(cluster: t.Any, index: t.Any, prefix: t.Any) -> str:
    """Block number index of a range, of the given prefix length. Errors: AnsibleFilterError."""
    try:
        network = ipaddress.ip_network(str(cluster))
    except ValueError as error:
        raise AnsibleFilterError(f"host_subnet: {cluster!r} is no network: {error}") from error
    index, prefix = _number("index", index), _number("prefix", prefix)
    if not network.prefixlen <= prefix <= network.max_prefixlen:
        allowed = f"{network.prefixlen} to {network.max_prefixlen}"
        raise AnsibleFilterError(f"host_subnet: prefix {prefix} does not divide {network}; allowed are {allowed}")
    blocks = 1 << (prefix - network.prefixlen)
    if not 0 <= index < blocks:
        raise AnsibleFilterError(f"host_subnet: {network} has blocks 0 to {blocks - 1} of /{prefix}, not {index}")
    first = int(network.network_address) + (index << (network.max_prefixlen - prefix))
    return f"{type(network.network_address)(first)}/{prefix}"


def _number(name: str, value: t.Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise AnsibleFilterError(f"host_subnet: {name} is {value!r}, not a whole number")
    return number


class FilterModule:
    """Filters of this file, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"host_subnet": host_subnet}
