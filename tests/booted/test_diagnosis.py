"""The catalogue of failures on nodes where firewalld, ufw or Docker filters: told as on nodes without, and healed."""

from __future__ import annotations

import contextlib
import os
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES

from tests.booted.diagnosing import Outcome, Patient, Verdict
from tests.booted.walls import LEFT_OUT, WALLS, fault, rows
from tests.kernel.faults import BOTH
from tests.lab import probe
from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(600)]

TARGETS = tuple(probe.TARGETS.values())
Row = tuple[str, str]


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    with Lab.create(f"ill-{os.getpid()}", {name: wall.recipe for name, wall in WALLS.items()}) as made:
        yield made


@pytest.fixture(scope="module")
def patients(lab: Lab) -> t.Iterator[dict[str, Patient]]:
    with contextlib.ExitStack() as stack:
        found = {}
        for name, wall in WALLS.items():
            found[name] = stack.enter_context(contextlib.closing(Patient(lab, name)))
            found[name].host.sh(wall.start)
        yield found


@pytest.fixture(scope="module")
def outcomes(patients: dict[str, Patient], request: pytest.FixtureRequest) -> t.Iterator[dict[Row, Future[Outcome]]]:
    """Of the rows that this run tests. All nodes at once: each waits more than it computes."""
    chosen = [item.callspec.params.get("row") for item in request.session.items if hasattr(item, "callspec")]
    futures: dict[Row, Future[Outcome]] = {row: Future() for row in rows() if row in chosen and row not in LEFT_OUT}
    with ThreadPoolExecutor(len(patients)) as threads:
        for wall, patient in patients.items():
            threads.submit(_try_all, patient, {row: future for row, future in futures.items() if row[0] == wall})
        yield futures


def _try_all(patient: Patient, futures: dict[Row, Future[Outcome]]) -> None:
    healthy: list[Verdict] | None = None
    for (wall, title), future in futures.items():
        tried = fault(wall, title)
        alone = bool(tried.network) or tried.before != "true"
        try:
            outcome = patient.suffer(tried, None if alone else healthy)
        except Exception as error:  # noqa: BLE001 (the test of that row raises it)
            future.set_exception(error)
            healthy = None
        else:
            future.set_result(outcome)
            healthy = None if alone else outcome.after


@pytest.mark.parametrize("row", rows(), ids=": ".join)
def test_fault_is_named(
    row: Row, outcomes: dict[Row, Future[Outcome]], record_property: t.Callable[[str, object], None]
) -> None:
    wall, title = row
    if row in LEFT_OUT:
        pytest.skip(LEFT_OUT[row])
    tried, outcome = fault(*row), outcomes[row].result()
    assert [(one["status"], one["findings"]) for one in outcome.before] == [("ok", [])] * 4, outcome.before
    for family in BOTH:
        verdict = outcome.found[family]
        if family in tried.families:
            assert (verdict["code"], verdict["status"]) == (tried.code, tried.status), verdict
            assert verdict["hop"] == (tried.hop or CODES[tried.code].hop)
            assert verdict["evidence"]
        else:
            assert (verdict["status"], verdict["findings"]) == ("ok", []), verdict
    assert [(one["status"], one["findings"]) for one in outcome.after] == [("ok", [])] * 4, outcome.after
    told_by = outcome.found[tried.families[0]]
    told = f"{told_by['code']} at {told_by['hop']}"
    record_property(
        "row of the catalogue", (str(tried.row or "beyond"), f"{wall}: {title}", told, "; ".join(told_by["evidence"]))
    )
