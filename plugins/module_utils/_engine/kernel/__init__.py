# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code that touches the system: netlink, nsfs, sysctl, nftables, conntrack, files."""

from __future__ import annotations
