"""Failures that take more than a script, on nodes where firewalld, ufw or Docker filters."""

from __future__ import annotations

import os
import subprocess
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.lab.syscalls import CLONE_NEWNET, setns
from tests.support.connection_table import fill, forget
from tests.support.diagnosing import record
from tests.support.fault_catalogue import BOTH
from tests.support.firewall_matrix import walls
from tests.support.system_diagnosis import PODS, TARGETS, Patient
from tests.support.system_engine import Verdict

_OBSTACLE = requirements.obstacle()
pytestmark = [
    pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)),
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("firewalls"),
]

Record = t.Callable[[str, object], None]
# More flows to the resolver than there are ports.
_TAKE_PORTS = """
import socket
opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _number in range(8)]
for one in opened:
    one.connect(("198.51.100.80", 53))
    try:
        one.send(b"\\0")
    except OSError:
        pass
"""
_MAC = "02:00:00:00:77:01"
_SECOND_UPLINK = f"""
ip link add uplink1 address {_MAC} link uplink0 type macvlan mode bridge
ip address add 198.18.99.1/32 dev uplink1
ip link set uplink1 up
sysctl -qw net.ipv4.conf.uplink1.rp_filter=1
"""


@pytest.fixture
def patient(request: pytest.FixtureRequest, patients: dict[str, Patient]) -> Patient:
    found = patients[request.param]
    found.build(PODS)
    assert_healthy(found)
    return found


def beside(number: int) -> pytest.MarkDecorator:
    """Have a test try its failure beside the walls of a number."""
    return pytest.mark.parametrize("patient", walls(number), indirect=True)


def told(patient: Patient, *targets: str, **options: t.Any) -> dict[str, Verdict]:
    """What is said of c1, by family."""
    found = patient.check([{**PODS, **options}], targets or TARGETS)
    return {one["family"]: one for one in found if one["namespace"] == "c1"}


def assert_healthy(patient: Patient) -> None:
    found = told(patient)
    assert {family: one["status"] for family, one in found.items()} == dict.fromkeys(BOTH, "ok"), found


def recorded(patient: Patient, told_by: Verdict, row: int, title: str, into: Record) -> None:
    record(told_by, row, f"{patient.host.node}: {title}", into)


def in_network_of(lab: Lab, host: str, function: t.Callable[[], object]) -> None:
    """Call a function in a child that is in a host's network namespace."""
    descriptor = lab.network(host)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            setns(descriptor, CLONE_NEWNET)
            function()
            status = 0
        finally:
            os._exit(status)
    os.close(descriptor)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@beside(0)
def test_table_of_connections_that_is_full(firewall_lab: Lab, patient: Patient, record_property: Record) -> None:
    in_network_of(firewall_lab, patient.host.node, fill)
    try:
        found = told(patient)
    finally:
        in_network_of(firewall_lab, patient.host.node, forget)
    assert {(one["code"], one["hop"]) for one in found.values()} == {("CONNTRACK_FULL", "conntrack")}, found
    recorded(patient, found["ipv4"], 36, "table of connections full", record_property)
    assert_healthy(patient)


@beside(1)
def test_ports_that_are_all_taken(patient: Patient, record_property: Record) -> None:
    few = {"nat": {"ports": "40000-40003"}}
    patient.build({**PODS, **few})
    try:
        patient.host.run(["ip", "netns", "exec", "c1", "python3", "-c", _TAKE_PORTS])
        found = told(patient, f"udp://{TARGETS[0]}:53", **few)["ipv4"]
    finally:
        patient.build(PODS)
    assert (found["code"], found["hop"], found["status"]) == ("PORTS_EXHAUSTED", "conntrack", "broken"), found
    recorded(patient, found, 37, "port pool too small", record_property)
    assert_healthy(patient)


@beside(2)
def test_routed_network_that_the_world_does_not_know(patient: Patient, record_property: Record) -> None:
    patient.build({**PODS, "nat": "none"})
    try:
        found = told(patient, nat="none")
    finally:
        patient.build(PODS)
    assert {(one["code"], one["status"]) for one in found.values()} == {("NO_RETURN_ROUTE", "broken")}, found
    recorded(patient, found["ipv4"], 38, "routed, and no route upstream", record_property)
    assert_healthy(patient)


@beside(3)
def test_reply_by_another_uplink(firewall_lab: Lab, patient: Patient, record_property: Record) -> None:
    own = firewall_lab.nodes[patient.host.node].uplink_address

    def neighbour(*words: str) -> None:
        in_network_of(firewall_lab, "internet", lambda: subprocess.run(["ip", "neigh", *words], check=True))

    patient.host.sh(_SECOND_UPLINK)
    neighbour("replace", own, "lladdr", _MAC, "dev", "uplink0", "nud", "permanent")
    try:
        found = told(patient)
    finally:
        neighbour("del", own, "dev", "uplink0")
        patient.host.sh("ip link del uplink1")
    assert (found["ipv4"]["code"], found["ipv4"]["hop"]) == ("RP_FILTER_DROP", "return_path"), found
    assert found["ipv6"]["status"] == "ok"
    recorded(patient, found["ipv4"], 39, "reply by another uplink", record_property)
    assert_healthy(patient)


@beside(4)
def test_nobody_upstream(patient: Patient, record_property: Record) -> None:
    found = told(patient, "198.51.100.99", "tcp://[2001:db8:51::99]:80")
    assert {(one["code"], one["hop"]) for one in found.values()} == {("UPSTREAM_UNREACHABLE", "upstream")}, found
    recorded(patient, found["ipv4"], 40, "nobody upstream", record_property)
