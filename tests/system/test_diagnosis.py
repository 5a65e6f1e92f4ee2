"""The catalogue of failures on nodes where firewalld, ufw or Docker filters: told as on nodes without, and healed."""

from __future__ import annotations

import json
import subprocess
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.support.fault_catalogue import BOTH
from tests.support.firewall_matrix import FORGOTTEN, WALLS, fault, rows
from tests.support.system_diagnosis import PODS, PROGRAM, TARGETS, Outcome, Patient
from tests.support.system_engine import Verdict

_OBSTACLE = requirements.obstacle()
pytestmark = [
    pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)),
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("firewalls"),
]

Row = tuple[str, str]


@pytest.fixture(scope="module")
def outcomes(patients: dict[str, Patient], request: pytest.FixtureRequest) -> t.Iterator[dict[Row, Future[Outcome]]]:
    """Of the rows that this run tests. All nodes at once: each waits more than it computes."""
    chosen = {item.callspec.params.get("row") for item in request.session.items if hasattr(item, "callspec")}
    futures: dict[Row, Future[Outcome]] = {row: Future() for row in rows() if row in chosen}
    with ThreadPoolExecutor(len(WALLS)) as threads:
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


# Without spaces, at which those who read logs cut names.
@pytest.mark.parametrize("row", rows(), ids=lambda row: ":".join(row).replace(" ", "-"))
def test_fault_is_named(
    row: Row, outcomes: dict[Row, Future[Outcome]], record_property: t.Callable[[str, object], None]
) -> None:
    tried, outcome = fault(*row), outcomes[row].result()
    assert [(one["status"], one["findings"]) for one in outcome.before] == [("ok", [])] * 4, outcome.before
    for family in BOTH:
        verdict = outcome.found[family]
        if family in tried.families:
            status = "broken" if row[1] in FORGOTTEN and verdict["status"] == "broken" else tried.status
            assert (verdict["code"], verdict["status"]) == (tried.code, tried.statuses.get(family, status)), verdict
            assert verdict["hop"] == (tried.hop or CODES[tried.code].hop)
            assert verdict["evidence"]
        else:
            assert (verdict["status"], verdict["findings"]) == ("ok", []), verdict
    assert [(one["status"], one["findings"]) for one in outcome.after] == [("ok", [])] * 4, outcome.after
    told_by = outcome.found[tried.families[0]]
    told = f"{told_by['code']} at {told_by['hop']}"
    evidence = "; ".join(told_by["evidence"])
    record_property("row of the catalogue", (str(tried.row or "beyond"), ": ".join(row), told, evidence))


def assert_healthy(verdicts: t.Sequence[Verdict]) -> None:
    assert [(one["status"], one["findings"]) for one in verdicts] == [("ok", [])] * 4, verdicts


@pytest.mark.parametrize("wall", WALLS)
def test_reload_leaves_nothing_to_find(wall: str, patients: dict[str, Patient]) -> None:
    patient = patients[wall]
    patient.build(PODS)
    patient.host.sh(WALLS[wall].reload)
    assert_healthy(patient.check([PODS], TARGETS))
    assert "netpath_trace" not in patient.host.sh("nft list tables")


def test_panic_mode_of_firewalld(patients: dict[str, Patient]) -> None:
    """It drops all of IP, and so neighbour discovery too, but not ARP."""
    patient = patients["firewalld"]
    patient.build(PODS)
    patient.host.sh("firewall-cmd --panic-on; ip -n c1 -6 neigh flush all")
    try:
        found = {one["family"]: one for one in patient.check([PODS], TARGETS) if one["namespace"] == "c1"}
    finally:
        patient.host.sh("firewall-cmd --panic-off")
    assert (found["ipv4"]["code"], found["ipv4"]["status"]) == ("FORWARD_DROPPED", "broken"), found
    assert "nftables chain inet firewalld" in found["ipv4"]["evidence"][-1]
    assert (found["ipv6"]["code"], found["ipv6"]["status"]) == ("NEIGHBOUR_FILTERED", "broken"), found
    assert_healthy(patient.check([PODS], TARGETS))


def test_program_and_module_tell_the_same(firewall_lab: Lab, patients: dict[str, Patient]) -> None:
    patient = patients["firewalld"]
    patient.build(PODS)
    patient.install_program()
    patient.host.sh("firewall-cmd --permanent --delete-policy=np-pods-fwd; firewall-cmd --reload")
    asked = json.dumps([PODS]).encode()
    command = f"{PROGRAM} check --json --networks - --target {TARGETS[0]} --target {TARGETS[1]} || echo ended with $?"
    told = patient.host.run(["sh", "-ec", command], asked).rpartition("ended with ")
    assert told[2].strip() == "1"
    of_program = json.loads(told[0])["verdicts"]
    of_module = _by_module(firewall_lab, patient.host.node)
    assert {one["code"] for one in of_program} == {"FORWARD_DROPPED"}
    assert [_essence(one) for one in of_program] == [_essence(one) for one in of_module]
    patient.build(PODS)
    assert {one["status"] for one in _by_module(firewall_lab, patient.host.node)} == {"ok"}


def _by_module(lab: Lab, node: str) -> list[Verdict]:
    arguments = json.dumps({"networks": [PODS], "targets": list(TARGETS)})
    command = ["ansible", node, "-i", str(lab.places.inventory), "-b", "--check", "--one-line"]
    command += ["-m", "netpath.egress.egress_check", "-a", arguments]
    done = subprocess.run(command, cwd="/", capture_output=True, check=False, text=True)
    found: list[Verdict] = json.loads(done.stdout.partition("=> ")[2])["verdicts"]
    return found


def _essence(verdict: Verdict) -> tuple[object, ...]:
    return tuple(verdict[key] for key in ("namespace", "family", "status", "code", "hop", "evidence"))
