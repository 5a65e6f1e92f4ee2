"""Which runs that did not end are taken back, and which are completed."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction.record import (
    APPLYING,
    AWAITING,
    ROLLING_BACK,
    VERIFYING,
    Record,
    Terms,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction.recovery import why_back

PLAIN, JUDGED = Terms(), Terms(judged=True)
HAZARDOUS, CONFIRMED = Terms(("set rp_filter",)), Terms(("set rp_filter",), 30)


@pytest.mark.parametrize(
    ("phase", "terms", "by_guardian", "by_next_run"),
    [
        (APPLYING, PLAIN, "", ""),
        (VERIFYING, PLAIN, "", ""),
        (ROLLING_BACK, PLAIN, "killed while it was going back", "killed while it was going back"),
        (APPLYING, JUDGED, "killed before it was judged", "killed before it was judged"),
        (VERIFYING, HAZARDOUS, "", "interrupted, and it may cut the way to this host"),
        (ROLLING_BACK, HAZARDOUS, "killed while it was going back", "killed while it was going back"),
        (APPLYING, CONFIRMED, "killed before it was confirmed", "killed before it was confirmed"),
        (ROLLING_BACK, CONFIRMED, "killed before it was confirmed", "killed before it was confirmed"),
        (AWAITING, CONFIRMED, "not confirmed within 30 s", "not confirmed within 30 s"),
        # Nothing in it may cut the way, so that nobody was to confirm anything.
        (APPLYING, Terms(confirm_within=30), "", ""),
    ],
)
def test_what_becomes_of_a_run(phase: str, terms: Terms, by_guardian: str, by_next_run: str) -> None:
    record = Record(Want(), terms, phase=phase)
    assert (why_back(record, own=True), why_back(record, own=False)) == (by_guardian, by_next_run)
