# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our file below /etc/sysctl.d (sysctl.d(5))."""

from __future__ import annotations

import typing as t

from ..model import FILE_MARK

SYSCTL_FILE = "/etc/sysctl.d/90-netpath-egress.conf"
_HEADER = f"{FILE_MARK} written by netpath.egress, from what its networks need. Changes are overwritten.\n"


def sysctl_file(settings: t.Mapping[str, str]) -> str:
    """The file's text. Keys in slash form, so that an interface name may have dots.

    accept_ra stands before forwarding: forwarding without it drops routes learned by router advertisement.
    A leading "-" lets an interface, or the kernel module of connection tracking, be missing when the file is read.
    """
    keys = sorted(settings, key=lambda key: (not key.endswith("/accept_ra"), key.count("/") > 2, key))
    lines = [f"{'-' if _may_be_missing(key) else ''}{key} = {settings[key]}\n" for key in keys]
    return _HEADER + "".join(lines)


def _may_be_missing(key: str) -> bool:
    parts = key.split("/")
    return parts[1] == "netfilter" or (len(parts) > 4 and parts[3] not in ("all", "default"))
