# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of modules that take networks and need no confirmation: the networks are checked on the controller."""

from __future__ import annotations

from ansible_collections.netpath.egress.plugins.plugin_utils._networks import NetworksAction


class ActionModule(NetworksAction):
    """As documented for the module that the task names."""
