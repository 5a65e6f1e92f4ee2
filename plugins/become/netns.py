# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enters a named network namespace of the remote host, as root or by sudo, before a module runs there."""

from __future__ import annotations

DOCUMENTATION = r"""
name: netns
version_added: 1.0.0
author: netpath.egress contributors (@netpath)
short_description: Run any module in a network namespace of the host
description:
  - A task with this C(become_method) runs in a network namespace, with the files below C(/etc/netns/NAME) in effect, as
    C(ip netns exec) does it. Everything else of the task stays as it is, such as C(ansible.builtin.uri),
    C(ansible.builtin.wait_for), C(ansible.builtin.get_url), C(ansible.builtin.command) or C(ansible.builtin.shell).
  - It works over SSH, with pipelining and without.
  - To enter a namespace takes root. A connection of another user becomes root by sudo first, so it may do what sudo
    lets that user do and no more. Then the command runs as O(become_user).
options:
  netns:
    description: Name of the namespace, as C(ip netns) lists it on the host.
    type: str
    required: true
    vars:
      - name: ansible_netns
  become_user:
    description: Who runs the command in the namespace.
    type: str
    default: root
    ini:
      - section: privilege_escalation
        key: become_user
    vars:
      - name: ansible_become_user
    env:
      - name: ANSIBLE_BECOME_USER
    keyword:
      - name: become_user
  become_exe:
    description: The program sudo. It is not used by a connection of root.
    type: str
    default: sudo
    ini:
      - section: privilege_escalation
        key: become_exe
    vars:
      - name: ansible_become_exe
    env:
      - name: ANSIBLE_BECOME_EXE
    keyword:
      - name: become_exe
  become_flags:
    description: Options of sudo.
    type: str
    default: -H -S -n
    ini:
      - section: privilege_escalation
        key: become_flags
    vars:
      - name: ansible_become_flags
    env:
      - name: ANSIBLE_BECOME_FLAGS
    keyword:
      - name: become_flags
  become_pass:
    description: The password that sudo asks for.
    type: str
    required: false
    vars:
      - name: ansible_become_password
      - name: ansible_become_pass
    env:
      - name: ANSIBLE_BECOME_PASS
notes:
  - An O(become_user) other than root reads what Ansible copies to the host, which takes pipelining, or the package acl
    there, as with any way to become a user without rights.
  - Facts of a host are those of the namespace when they are gathered in one.
  - Files that a module writes are the host's. The network, C(/sys) and what C(/etc/netns/NAME) has are the namespace's.
seealso:
  - module: netpath.egress.netns
    description: Makes namespaces.
"""

EXAMPLES = r"""
- name: Ask a service from the namespace ns1 of each host
  ansible.builtin.uri:
    url: http://198.51.100.80/
  become: true
  become_method: netpath.egress.netns
  vars:
    ansible_netns: ns1

- name: Several tasks in it
  become: true
  become_method: netpath.egress.netns
  vars:
    ansible_netns: ns1
  block:
    - name: Wait for the gateway
      ansible.builtin.wait_for:
        host: 10.22.33.1
        port: 22

    - name: Look at its addresses, as a user without rights
      ansible.builtin.command: ip address
      become_user: nobody
      changed_when: false
"""

import re
import shlex
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.become import BecomeBase
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import values

# Arguments: the namespace, the user, then the command. sudo and its options are put in its place. ip itself ends with
# 255 where there is no such namespace, which is what ssh says of a host that it does not reach. What is in braces is
# for modules, whose result it is then. All of it is one line, because csh and tcsh as login shells end a quoted text
# with its line.
_ENTER = """\
ns=$1 user=$2; shift 2; PATH=$PATH:/usr/sbin:/sbin;
[ "$(stat -f -c %t "/run/netns/$ns" 2>/dev/null)" = 6e736673 ] ||
{ said="this host has no network namespace $ns"; echo "$said" >&2;
printf '{"failed": true, "msg": "%s"}\\n' "$said"; exit 1; };
[ "$user" = root ] || set -- runuser -u "$user" -- "$@";
set -- ip netns exec "$ns" "$@";
[ "$(id -u)" = 0 ] || set -- SUDO "$@";
exec "$@"
""".replace("\n", " ")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")


class _AnotherUser(str):
    """A user whom Ansible takes for another one than the connection's.

    It does nothing to become the same one, and the task would run in the network of the host without a word.
    """

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return True


class BecomeModule(BecomeBase):  # type: ignore[misc]
    name = "netpath.egress.netns"
    fail = ("Sorry, try again.",)
    missing = ("Sorry, a password is required to run sudo", "sudo: a password is required")

    def get_option(self, option: str, *arguments: t.Any, **more: t.Any) -> t.Any:
        found = super().get_option(option, *arguments, **more)
        return _AnotherUser(found or "root") if option == "become_user" else found

    def build_become_command(self, cmd: str, shell: t.Any) -> str:
        """Errors: AnsibleError for a name that no namespace or user can have."""
        super().build_become_command(cmd, shell)
        if not cmd:
            return cmd
        script = _ENTER.replace("SUDO", self._sudo())
        program = getattr(shell, "executable", None) or "/bin/sh"
        words = [program, "-c", script, "netns", self._netns(), self._user(), program, "-c"]
        return f"{shlex.join(words)} {self._build_success_command(cmd, shell, noexe=True)}"

    def _netns(self) -> str:
        try:
            return values.namespace_name(self.get_option("netns"), "ansible_netns")
        except SpecError as error:
            raise AnsibleError(str(error)) from error

    def _user(self) -> str:
        user = str(self.get_option("become_user"))
        if not _USER.fullmatch(user):
            raise AnsibleError(f"become_user: {user!r} is no name of a user")
        return user

    def _sudo(self) -> str:
        """The program and its options, as words of a shell."""
        flags = self._words("become_flags")
        if self.get_option("become_pass"):
            self.prompt = f"[sudo via ansible, key={self._id}] password:"
            # Among short ones in a word, too.
            asking = (re.sub(r"^(-[A-Za-z]*)n([A-Za-z]*)$", r"\1\2", flag) for flag in flags)
            flags = [flag for flag in asking if flag not in ("-", "--non-interactive")] + ["-p", self.prompt]
        return shlex.join([*(self._words("become_exe") or ["sudo"]), *flags, "--"])

    def _words(self, option: str) -> list[str]:
        """Of an option, as a shell reads it."""
        given = self.get_option(option) or ""
        try:
            return shlex.split(given)
        except ValueError as error:
            raise AnsibleError(f"{option}: {given!r} is not what a shell can read: {error}") from error
