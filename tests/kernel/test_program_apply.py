"""netpath-egress apply: the networks of the files, built as they were, without Ansible."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import installation, units

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["c1", "c2"]}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}
FILES = "/etc/netpath/networks.d"
DONE, DIFFERS, USAGE, FAILED = 0, 1, 3, 4


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    """Built, with files of its networks, as the role leaves it."""
    with world.add_node() as made:
        # In the order of their files, as rules are told apart by theirs.
        made.call(build_at_once, [APPS, PODS])
        made.call(install, [APPS, PODS])
        yield made


def install(networks: list[Options]) -> list[str]:
    return installation.install(installation.Asked("/etc/netpath-egress", sys.executable, networks)).actions


def run(node: Node, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return node.run([program, *arguments], check=False)


def rebooted(node: Node) -> None:
    """What is left of the networks after a reboot: nothing but files."""
    node.run(["sh", "-ec", "for name in $(ip netns list | cut -d' ' -f1); do ip netns del $name; done"])
    node.run(["sh", "-ec", "ip link del br-pods; ip link del br-apps; nft flush ruleset"])
    node.run(["sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"])


def test_nothing_differs(node: Node, program: str) -> None:
    done = run(node, program, "apply", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")


def test_everything_comes_back_as_it_was(node: Node, program: str) -> None:
    # The second of them has the address of the first one's successor by then.
    node.call(build_at_once, [{**PODS, "namespaces": ["c2"]}])
    node.call(build_at_once, [{**PODS, "namespaces": ["c0", "c2"]}])
    node.call(install, [{**PODS, "namespaces": ["c0", "c2"]}])
    before = settled(node)
    rebooted(node)
    told = run(node, program, "apply", "--check")
    assert (told.returncode, "would create namespace c2" in told.stdout) == (DIFFERS, True), told
    done = run(node, program, "apply")
    assert done.returncode == DONE, done.stderr
    assert unreachable_from(node, "c0", "c2") == []
    assert difference(before, settled(node)) == ""
    assert run(node, program, "apply", "--check").stdout == ""


def test_one_network(node: Node, program: str) -> None:
    rebooted(node)
    assert run(node, program, "apply", "apps").returncode == DONE
    assert node.run(["ip", "netns", "list"]).stdout.split()[0] == "a1"
    refused = run(node, program, "apply", "nobody")
    assert (refused.returncode, "there are apps, pods" in refused.stderr) == (USAGE, True), refused


@pytest.mark.parametrize("damage", ["", "{", '{"version": 1, "sha256": "0", "network": {}}', "\xff", "nothing"])
def test_damaged_file_is_set_aside_and_others_come_up(node: Node, program: str, damage: str) -> None:
    rebooted(node)
    node.run(["sh", "-c", f"cat >{FILES}/pods.json"], input=damage)
    told = run(node, program, "apply", "--check")
    assert (told.returncode, f"{FILES}/pods.json" in told.stderr) == (FAILED, True), told
    done = run(node, program, "apply")
    assert done.returncode == FAILED
    assert f"{FILES}/pods.json.damaged" in done.stderr
    assert unreachable_from(node, "a1", families=["ipv4"]) == []
    # Until somebody writes it anew.
    again = run(node, program, "apply")
    assert again.returncode == FAILED
    assert f"{FILES}/pods.json.damaged: was damaged, and is set aside" in again.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"version": 2}', "has version 2"),
        ('{"version": 1, "network": {"name": "pods"}}', "pods"),
        ('{"version": 1, "network": {"name": "others", "subnets": ["10.9.0.0/24"]}}', "is about the network 'others'"),
        ("[]", "has 0 networks"),
        (json.dumps([PODS, APPS]), "has 2 networks; give each a file of its own"),
    ],
)
def test_file_that_cannot_be_used_stays(node: Node, program: str, text: str, words: str) -> None:
    """It may be of a later version, or somebody is just writing it."""
    rebooted(node)
    node.run(["sh", "-c", f"cat >{FILES}/pods.json"], input=text)
    done = run(node, program, "apply")
    assert (done.returncode, words in done.stderr) == (FAILED, True), done
    assert node.run(["cat", f"{FILES}/pods.json"]).stdout == text
    assert unreachable_from(node, "a1", families=["ipv4"]) == []


@pytest.mark.parametrize("how", ["mkfifo pods.json", "mkdir pods.json", "ln -s nowhere pods.json"])
def test_what_is_no_file_is_set_aside(node: Node, program: str, how: str) -> None:
    """A pipe, for one, would never be read to its end."""
    rebooted(node)
    node.run(["sh", "-ec", f"cd {FILES}; rm pods.json; {how}"])
    done = node.run([program, "apply"], check=False, timeout=20)
    assert (done.returncode, f"{FILES}/pods.json.damaged" in done.stderr) == (FAILED, True), done
    assert unreachable_from(node, "a1", families=["ipv4"]) == []


def test_network_that_cannot_be_built_keeps_no_other_down(node: Node, program: str) -> None:
    rebooted(node)
    node.run(["sh", "-ec", "ip link add br-pods type veth peer name other"])
    done = run(node, program, "apply", "--json")
    assert done.returncode == FAILED, done
    data = json.loads(done.stdout)
    assert (list(data["networks"]), list(data["failed"])) == (["apps"], ["pods"])
    assert unreachable_from(node, "a1", families=["ipv4"]) == []


def test_network_that_is_named_like_an_option(node: Node, program: str) -> None:
    """As its unit calls it."""
    odd = {**PODS, "name": "--check", "bridge": "br-odd", "namespaces": ["o1"], "subnets": ["10.55.0.0/24"]}
    node.call(install, [APPS, PODS, odd])
    words = units.template(program).partition("ExecStart=")[2].splitlines()[0].split()
    done = node.run([word.replace("%i", "--check") for word in words], check=False)
    assert (done.returncode, "create namespace o1" in done.stdout) == (DONE, True), done
    assert unreachable_from(node, "o1", families=["ipv4"]) == []


def test_addresses_are_kept(node: Node) -> None:
    data = json.loads(node.run(["cat", f"{FILES}/pods.json"]).stdout)
    assert data["addresses"] == {
        "c1": ["10.22.33.2/24", "fd00:22:33::2/64"],
        "c2": ["10.22.33.3/24", "fd00:22:33::3/64"],
    }


def test_damaged_ledger_keeps_no_network_down(node: Node, program: str) -> None:
    rebooted(node)
    node.run(["truncate", "--size", "100", "/var/lib/netpath/ledger.json"])
    done = run(node, program, "apply")
    assert done.returncode == DONE, done
    assert "/var/lib/netpath/ledger.json.damaged" in done.stderr
    assert unreachable_from(node, "a1", families=["ipv4"]) == []
    assert run(node, program, "apply", "--check").returncode == DONE


def test_ledger_of_a_later_release_stays_where_it_is(node: Node, program: str) -> None:
    """What was there before the first change is in it alone."""
    rebooted(node)
    path = "/var/lib/netpath/ledger.json"
    later = """import json, sys
data = json.load(open(sys.argv[1]))
del data["sha256"]
data["claims"][0]["reason"] = "later"
json.dump(data, open(sys.argv[1], "w"))"""
    node.run(["python3", "-c", later, path])
    text = node.run(["cat", path]).stdout
    done = run(node, program, "apply")
    assert done.returncode == FAILED
    assert "Run the release that wrote it, or a later one" in done.stderr
    assert node.run(["cat", path]).stdout == text
    assert node.run(["ls", "/var/lib/netpath"]).stdout.split() == ["ledger.json"]


def test_namespace_of_a_file_that_is_about_another_network(node: Node, program: str) -> None:
    """It is not built from there, and so nothing is done in silence either."""
    node.run(["mv", f"{FILES}/pods.json", f"{FILES}/other.json"])
    done = run(node, program, "apply", "--only", "c1")
    assert done.returncode == USAGE
    assert "there is no namespace 'c1' in the networks" in done.stderr
    assert f"{FILES}/other.json" in done.stderr
