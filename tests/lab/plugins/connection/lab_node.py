"""The Ansible connection to a light node of the lab: local commands in the node's namespaces."""

from __future__ import annotations

import os
import shlex
import subprocess

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = r"""
name: lab_node
short_description: Run tasks in a light node of the lab
description:
  - Runs commands on this machine, in the mount, UTS and network namespaces of a lab node.
  - Files are copied through these namespaces, because a node has C(/run), C(/etc) and C(/var/lib) of its own.
    Everything else, C(/tmp) and the home directories among it, is the machine's.
author: netpath.egress contributors
options:
  node_pid:
    description: The PID of the process that holds the node's namespaces.
    type: int
    required: true
    vars:
      - name: ansible_lab_node_pid
  become_success_timeout:
    description: As in the C(local) connection.
    type: int
    default: 10
    vars:
      - name: ansible_local_become_success_timeout
  become_strip_preamble:
    description: As in the C(local) connection.
    type: bool
    default: true
    vars:
      - name: ansible_local_become_strip_preamble
extends_documentation_fragment:
  - connection_pipelining
notes:
  - The remote user is the one who runs Ansible. As root, C(become) to root is skipped by Ansible and needs no program.
"""


class Connection(LocalConnection):  # type: ignore[misc]
    """Local commands, wrapped in nsenter."""

    transport = "lab_node"
    has_pipelining = True

    def _connect(self) -> Connection:
        super()._connect()
        pid = self.get_option("node_pid")
        if not os.path.exists(f"/proc/{pid}/ns/net"):
            raise AnsibleConnectionFailure(f"no lab node is held by process {pid}: has its world ended?")
        return self

    def _entering(self) -> list[str]:
        return ["nsenter", "--target", str(self.get_option("node_pid")), "--mount", "--uts", "--net", "--"]

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a shell command in the node."""
        entered = shlex.join([*self._entering(), "/bin/sh", "-c", cmd])
        result: tuple[int, bytes, bytes] = super().exec_command(entered, in_data=in_data, sudoable=sudoable)
        return result

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the controller into the node."""
        try:
            with open(in_path, "rb") as source:
                self._copy(f"cat > {shlex.quote(out_path)}", f"put {in_path} to {out_path}", stdin=source)
        except FileNotFoundError as error:
            raise AnsibleFileNotFound(f"file or module does not exist: {in_path}") from error

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the node to the controller."""
        with open(out_path, "wb") as target:
            self._copy(f"cat < {shlex.quote(in_path)}", f"fetch {in_path} to {out_path}", stdout=target)

    def _copy(self, command: str, what: str, **streams: object) -> None:
        argv = [*self._entering(), "/bin/sh", "-c", command]
        done = subprocess.run(argv, stderr=subprocess.PIPE, check=False, **streams)  # type: ignore[call-overload]
        if done.returncode != 0:
            raise AnsibleError(f"cannot {what}: {done.stderr.decode(errors='replace').strip()}")
