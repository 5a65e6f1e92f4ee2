# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that actions on the controller show."""

from __future__ import annotations

import typing as t

from ansible import constants
from ansible.utils.display import Display
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import printable

# Whoever reads these expects nothing but their own output.
_FOR_PROGRAMS = ("json", "jsonl")


def show(lines: t.Iterable[tuple[str, str | None]]) -> None:
    """Texts with their colours. Ansible's display knows about terminals, NO_COLOR and its own settings."""
    if str(constants.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] in _FOR_PROGRAMS:
        return
    display = Display()
    display.display("")
    for text, color in lines:
        display.display(printable(text), color=color)
