# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run would change now. Read-only, without the lock: what another run does meanwhile are its own steps."""

from __future__ import annotations

import typing as t

from ..kernel.namespaces import Namespaces
from ..model import Want
from ..observe import Observer
from ..planning.plan import make_plan
from ..planning.step import Step


def steps(wanted: t.Callable[[Observer], Want]) -> t.Sequence[Step]:
    """Those towards what is wanted. Errors: EgressError, where a run would report it."""
    with Namespaces() as namespaces:
        observer = Observer(namespaces)
        want = observer.assigned(wanted(observer))
        return make_plan(want, observer.observe(want), predicting=True).steps
