# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a host as they would be written, whoever made them. Read-only."""

from __future__ import annotations

import typing as t

from .look import look
from .networks import described
from .note import Notes

Data = dict[str, t.Any]


def description() -> Data:
    """{"egress_networks": in the form of that variable, "notes": what has no place there}. Errors: EgressError."""
    notes = Notes()
    networks = described(look(notes), notes)
    return {"egress_networks": networks, "notes": notes.data()}
