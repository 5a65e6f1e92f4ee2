# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that end a run: they wait until it is between two steps, and then are errors like others (signal(7))."""

from __future__ import annotations

import contextlib
import signal
import types
import typing as t

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def held() -> t.Iterator[None]:
    """Within the block they come only where allowed is called; one that ends a process raises SystemExit there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    replaced: dict[signal.Signals, t.Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Of threads, the first alone may set what is done about them.
            with contextlib.suppress(ValueError):
                if signal.getsignal(number) is signal.SIG_DFL:
                    replaced[number] = signal.signal(number, _exit)
        yield
    finally:
        try:
            # One that came during a way back.
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        finally:
            for number, handler in replaced.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def allowed() -> t.Iterator[None]:
    """Within a block of held; what came before comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _exit(number: int, _frame: types.FrameType | None) -> None:
    raise SystemExit(128 + number)
