# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that run on the controller alone, and what hosts have registered there."""

from __future__ import annotations

import collections.abc
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import printable

_MOST = 200  # characters of a reason


class ControllerAction(ActionBase):  # type: ignore[misc]
    """As documented for the module of the same name. It runs on the controller alone, in check mode too."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False


def registered(hostvars: t.Any, host: str, name: str) -> t.Any:
    """What a host has in a variable, None without it; no template engine looks at what thousands of them have told."""
    read = getattr(hostvars, "raw_get", None)
    variables = read(host) if read else hostvars.get(host, {})
    return variables.get(name) if isinstance(variables, collections.abc.Mapping) else None


def unusable(error: Exception) -> str:
    """What is said of a host that has told what nothing can be made of."""
    return f"what it told cannot be used: {type(error).__name__}: {printable(str(error))[:_MOST]}"
