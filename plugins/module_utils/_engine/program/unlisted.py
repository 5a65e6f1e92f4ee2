# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that this host was given, and that a list of networks does not have."""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import EgressError
from ..kernel.ledger_file import readable_ledger
from . import networks


def unlisted(listed: t.Collection[str]) -> dict[str, dict[str, t.Any]]:
    """{name: what is known of it, as an entry of egress_networks}: of those with a file, and with assigned addresses.

    A network that was built by single modules, without either, is not among them.
    """
    found: dict[str, dict[str, t.Any]] = {
        one.network: {"name": one.network} for one in readable_ledger().assignments.values() if one.network
    }
    # Without the rights to read them the run itself ends with the reason.
    with contextlib.suppress(EgressError):
        for stored in networks.stored():
            found[stored.name] = stored.network if stored.error is None else {"name": stored.name}
    return {name: found[name] for name in sorted(found) if name not in listed}
