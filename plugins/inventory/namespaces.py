# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces of the hosts that the inventory has already, as hosts of their own."""

from __future__ import annotations

DOCUMENTATION = r"""
name: namespaces
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Network namespaces of the inventory's hosts as hosts
description:
  - Adds a host for each namespace in the C(egress_networks) of each host that other sources of the inventory have, so
    that a playbook can run in it.
  - Such a host has the variables of the one that it is on. Besides, it has C(ansible_become), C(ansible_become_method)
    and C(ansible_netns) for the become plugin P(netpath.egress.netns#become), C(netpath_host) with the name of the host
    that it is on, C(netpath_network), C(netpath_bridge), C(netpath_interface), C(netpath_addresses) with their prefix
    lengths, and C(netpath_gateways). The addresses are those that the playbook C(netpath.egress.plan) shows; a
    namespace that is there may have kept others. Its C(egress_networks) are empty, so that roles have nothing to do
    there.
  - Its groups are C(netpath_namespaces), and C(netpath_network_NAME) for the network, with C(_) for each C(-).
  - Name the source of the hosts first, as in C(ansible-playbook -i inventory.yml -i namespaces.yml).
  - Plays for C(all) hosts run in the namespaces too, so keep this source for the playbooks that are for them.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [netpath.egress.namespaces]
  separator:
    description:
      - What is between the name of the namespace and that of the host in the name of the new host.
      - Choose another one where hosts have such names, such as V(ns1.example.org) beside V(example.org).
    type: str
    default: .
  strict:
    description:
      - Whether it is an error if networks cannot be read, or if a namespace would have the name of another host.
        Otherwise that host or namespace is left out, with a warning.
    type: bool
    default: true
seealso:
  - plugin: netpath.egress.netns
    plugin_type: become
    description: Runs a module in a namespace.
"""

EXAMPLES = r"""
# namespaces.yml
plugin: netpath.egress.namespaces

# Then, in a playbook:
#
# - name: Ask from all namespaces of the network pods
#   hosts: netpath_network_pods
#   gather_facts: false
#   tasks:
#     - name: Reach the service
#       ansible.builtin.uri:
#         url: http://198.51.100.80/
"""

import typing as t

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.helpers import get_group_vars
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.allocation import allocate, gateway_for
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import Network
from ansible_collections.netpath.egress.plugins.plugin_utils._networks import OMITTED, checked, in_words, plain

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 trusts what an inventory says

    def trust_as_template(value: str) -> str:
        return value


GROUP = "netpath_namespaces"
_METHOD = "netpath.egress.netns"


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]
    NAME = "netpath.egress.namespaces"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("namespaces.yml", "namespaces.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Errors: AnsibleParserError."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        inventory.add_group(GROUP)
        if not inventory.hosts:
            self.display.warning(f"{path} comes before any host, so that it has no namespaces: name it after the hosts")
        for name in list(inventory.hosts):
            variables = self._variables(name)
            for network in self._networks(name, variables):
                self._add(name, network, variables)

    def _variables(self, name: str) -> dict[str, t.Any]:
        """Of a host, with those of its groups and of the files beside the inventory."""
        host = self.inventory.hosts[name]
        sources = self.inventory.processed_sources
        groups = host.get_groups()
        found = combine_vars(
            get_group_vars(groups), get_vars_from_inventory_sources(self.loader, sources, groups, "all")
        )
        own = combine_vars(host.get_vars(), get_vars_from_inventory_sources(self.loader, sources, [host], "all"))
        return dict(combine_vars(found, own))

    def _networks(self, name: str, variables: t.Mapping[str, t.Any]) -> list[Network]:
        if not variables.get("egress_networks"):
            return []
        try:
            given = plain(self._templated(name, variables, variables["egress_networks"]))
            networks, errors = checked(given)
            if errors:
                raise AnsibleParserError(in_words(errors))
        except AnsibleError as error:
            told = f"the networks of {name}: {error}"
            if self.get_option("strict"):
                raise AnsibleParserError(told) from error
            self.display.warning(told)
            return []
        return networks

    def _templated(self, name: str, variables: t.Mapping[str, t.Any], value: t.Any) -> t.Any:
        """With what templates of an inventory use of Ansible's own variables."""
        host = self.inventory.hosts[name]
        self.templar.available_variables = {
            "omit": OMITTED,
            **variables,
            "inventory_hostname": name,
            "inventory_hostname_short": name.split(".", maxsplit=1)[0],
            "groups": {
                group: [one.name for one in found.get_hosts()] for group, found in self.inventory.groups.items()
            },
            "group_names": sorted(group.name for group in host.get_groups() if group.name != "all"),
        }
        return self.templar.template(value)

    def _add(self, name: str, network: Network, variables: t.Mapping[str, t.Any]) -> None:
        if network.absent:
            return
        group = self.inventory.add_group(f"netpath_network_{network.name.replace('-', '_')}")
        self.inventory.add_child(GROUP, group)
        address = self._templated(name, variables, variables.get("ansible_host", name))
        addresses = allocate(network, {})
        for namespace in network.namespaces:
            title = f"{namespace.name}{self.get_option('separator')}{name}"
            if self._is_taken(title, name):
                continue
            host = self.inventory.add_host(title, group)
            own = {
                "ansible_host": address,
                "ansible_become": True,
                "ansible_become_method": _METHOD,
                "ansible_netns": namespace.name,
                "egress_networks": [],
                "netpath_host": name,
                "netpath_network": network.name,
                "netpath_bridge": network.bridge,
                "netpath_interface": namespace.interface,
                "netpath_addresses": list(addresses[namespace.name]),
                "netpath_gateways": [gateway_for(network, cidr) for cidr in addresses[namespace.name]],
            }
            for key, value in {**self._inherited(name, variables), **own}.items():
                self.inventory.set_variable(host, key, value)

    def _inherited(self, name: str, variables: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The variables of the host, with templates left to that host, as inventory_hostname is another one here."""
        return {
            key: trust_as_template(f"{{{{ hostvars[{name!r}][{key!r}] }}}}")
            if self.templar.is_template(value)
            else value
            for key, value in variables.items()
        }

    def _is_taken(self, title: str, name: str) -> bool:
        """Whether another host has that name, which must not be led to this one. Errors: AnsibleParserError."""
        there = self.inventory.hosts.get(title)
        if there is None or there.vars.get("netpath_host") == name:
            return False
        told = f"the inventory has a host {title} already, so that no namespace of {name} can be called so"
        if self.get_option("strict"):
            raise AnsibleParserError(f"{told}. Choose another separator")
        self.display.warning(told)
        return True
