"""Diagnosis on the oldest release, whose nft cannot make tables with an owner, and where programs are missing."""

from __future__ import annotations

import contextlib
import os
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.support.fault_catalogue import FAULTS
from tests.support.system_diagnosis import PODS, TARGETS, Patient
from tests.support.system_engine import Host

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(600)]

_DROPPED = FAULTS["rule that drops ahead of ours"]


@pytest.fixture(scope="module")
def patient() -> t.Iterator[Patient]:
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab.create(f"old-{os.getpid()}", {"old": "bullseye"}))
        made = Patient.with_pyroute2(stack.enter_context(Host(lab, "old")))
        made.build(PODS)
        yield made


def _told(patient: Patient) -> dict[str, t.Any]:
    found = patient.check([PODS], TARGETS)
    return next(one for one in found if (one["namespace"], one["family"]) == ("c1", "ipv4"))


@pytest.mark.parametrize("title", ["rule that drops ahead of ours", "answers dropped", "raw table that drops"])
def test_rule_is_named(patient: Patient, title: str) -> None:
    outcome = patient.suffer(FAULTS[title])
    verdict = outcome.found["ipv4"]
    assert (verdict["code"], verdict["status"]) == ("FORWARD_DROPPED", "broken")
    assert "br0" in verdict["evidence"][-1]
    assert {one["status"] for one in outcome.after} == {"ok"}
    assert "netpath_trace" not in patient.host.sh("nft list tables")


@contextlib.contextmanager
def without(patient: Patient, *programs: str) -> t.Iterator[None]:
    """Programs are not there while the block runs."""
    files = " ".join(f"/usr/sbin/{program}" for program in programs)
    patient.host.sh(f"mkdir -p /root/away; mv {files} /root/away")
    try:
        yield
    finally:
        patient.host.sh("mv /root/away/* /usr/sbin/")


_IPTABLES = ("iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save", "iptables")


@pytest.mark.parametrize("programs", [("nft",), _IPTABLES, ("nft", *_IPTABLES)], ids=["nft", "iptables", "both"])
def test_path_that_works_without_programs(patient: Patient, programs: tuple[str, ...]) -> None:
    with without(patient, *programs):
        found = patient.check([PODS], TARGETS)
    assert {(one["status"], one["code"]) for one in found} == {("ok", None)}, found


def test_rule_has_its_number_without_nft(patient: Patient) -> None:
    patient.host.sh(_DROPPED.inject)
    with without(patient, "nft"):
        verdict = _told(patient)
    patient.host.sh(_DROPPED.fix)
    assert (verdict["code"], verdict["hop"]) == ("FORWARD_DROPPED", "forward_policy"), verdict
    assert "its rule with the handle" in verdict["evidence"][-1]
