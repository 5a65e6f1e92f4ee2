# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a program on the node: netpath-egress, with main.py as its command line. See docs/program.md."""

from __future__ import annotations

NAME = "netpath-egress"
VERSION = "1.0.0"  # of the collection
