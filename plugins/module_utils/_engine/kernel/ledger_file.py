# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger as it is on disk."""

from __future__ import annotations

import contextlib

from .. import ledger as ledgers
from ..errors import EgressError
from ..ledger import Ledger
from . import files


def read_ledger() -> Ledger:
    """The one on disk. Errors: EgressError where it is damaged."""
    text = files.read(ledgers.PATH)
    return ledgers.EMPTY if text is None else ledgers.from_json(text)


def readable_ledger() -> Ledger:
    """The one on disk; an empty one where nobody can tell."""
    with contextlib.suppress(EgressError):
        return read_ledger()
    return ledgers.EMPTY
