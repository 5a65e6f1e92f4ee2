# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by which systemd-networkd and NetworkManager leave our links alone.

See systemd.network(5), networkctl(1), NetworkManager.conf(5).
"""

from __future__ import annotations

import re
import typing as t

from ..model import FILE_MARK, File

NETWORKD, NETWORK_MANAGER = "systemd-networkd", "NetworkManager"
# The first file of networkd that matches a link decides.
_PATHS = {
    NETWORKD: "/etc/systemd/network/00-netpath-{}.network",
    NETWORK_MANAGER: "/etc/NetworkManager/conf.d/90-netpath-{}.conf",
}
_TEXTS = {
    NETWORKD: "[Match]\nName={}\n\n[Link]\nUnmanaged=yes\n",
    NETWORK_MANAGER: "[keyfile]\nunmanaged-devices+={}\n",
}
MANAGERS = tuple(_PATHS)


def manager_of(path: str) -> str:
    """Whose file it is, or nothing."""
    return next((name for name, form in _PATHS.items() if path.startswith(form.partition("{}")[0])), "")


def drop_in(manager: str, bridge: str, links: t.Iterable[str] = (), network: str = "") -> File:
    """The file that keeps one of them away from a bridge and links that belong to it."""
    names = (bridge, *links)
    listed = " ".join(map(_glob, names)) if manager == NETWORKD else ";".join(map(_literal, names))
    return File(_PATHS[manager].format(bridge), f"{FILE_MARK}{network}\n{_TEXTS[manager].format(listed)}")


def _glob(name: str) -> str:
    """The pattern of fnmatch(3) that networkd reads, and that matches the name alone.

    A "!" at its start would match all others, and a backslash would be taken before it is matched. Names of letters
    beyond ASCII networkd ignores.
    """
    pattern = re.sub(r"[*?[]", r"[\g<0>]", name)
    return f"[[.!.]]{pattern[1:]}" if pattern.startswith("!") else pattern


def _literal(name: str) -> str:
    """The name as it is, without any pattern; only separators are escaped."""
    return "interface-name:=" + re.sub(r"[,;\\]", r"\\\g<0>", name)
