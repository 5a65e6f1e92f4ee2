"""The module egress_program: what it writes, predicts, refuses and removes."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import bundle

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.run_module import Options, done, predicted, refused, run
from tests.support.run_module_fresh import fresh

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

MODULE = "egress_program"
PROGRAM = "/etc/sysctl.d/netpath-egress"  # among what snapshots show
DIRECTORY = "/etc/netpath/networks.d"
PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["c1"]}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"], "nat": {"mode": "none"}}
WRITTEN = [f"write {DIRECTORY}/pods.json", f"write {DIRECTORY}/apps.json", f"write {PROGRAM}"]
DELETED = [line.replace("write", "delete") for line in WRITTEN]


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1, internet=False) as world:
        yield world.nodes[0]


def asked(*networks: Options, **others: t.Any) -> Options:
    return {"path": PROGRAM, "interpreter": sys.executable, "networks": list(networks), **others}


def test_written_and_removed(node: Node) -> None:
    before = settled(node)
    both = asked(PODS, APPS)
    assert predicted(node, MODULE, both) == WRITTEN
    assert difference(before, settled(node)) == ""
    assert done(node, MODULE, both) == WRITTEN
    assert done(node, MODULE, both) == predicted(node, MODULE, both) == []
    held = json.loads(node.run(["cat", f"{DIRECTORY}/apps.json"]).stdout)
    assert (held["version"], held["network"]["nat"], held["network"]["namespaces"]) == (1, {"mode": "none"}, ["a1"])
    modes = node.run(["stat", "-c", "%a", f"{DIRECTORY}/apps.json", PROGRAM]).stdout.split()
    assert modes == ["600", "755"]
    assert node.run([PROGRAM, "--version"]).returncode == 0
    assert done(node, MODULE, asked(PODS, state="absent")) == DELETED[:1]
    assert done(node, MODULE, asked(PODS, APPS, state="absent")) == DELETED[1:]
    assert done(node, MODULE, asked(PODS, APPS, state="absent")) == []
    assert difference(before, settled(node)) == ""


def test_files_change_with_what_they_are_about(node: Node) -> None:
    """In one step, or a timer that looks in between would want what was before."""
    path: Options = {"networks": [PODS, APPS]}
    assert [line for line in done(node, "egress_path", path) if DIRECTORY in line] == []
    done(node, MODULE, asked(PODS, APPS))
    assert done(node, "egress_path", path) == []
    more = {**PODS, "namespaces": ["c1", "c2"]}
    foreseen = predicted(node, "egress_path", {"networks": [more, APPS]})
    assert done(node, "egress_path", {"networks": [more, APPS]}) == foreseen
    assert [line for line in foreseen if DIRECTORY in line] == [f"rewrite {DIRECTORY}/pods.json"]
    assert node.run([PROGRAM, "apply", "--check"], check=False).returncode == 0
    assert done(node, MODULE, asked(more, APPS)) == []
    assert f"delete {DIRECTORY}/apps.json" in done(node, "egress_path", {"networks": [APPS], "state": "absent"})
    assert node.run([PROGRAM, "apply", "--check"], check=False).returncode == 0
    # A run that fails leaves them as well.
    kept = settled(node)
    node.run(["sh", "-ec", "ip link add taken type veth peer name other"])
    run(node, "egress_path", {"networks": [{**more, "bridge": "taken"}]})
    node.run(["ip", "link", "del", "taken"])
    assert difference(kept, settled(node)) == ""
    done(node, "egress_path", {"networks": [more], "state": "absent"})
    done(node, MODULE, asked(more, state="absent"))


def test_without_pyroute2(node: Node, tmp_path: Path) -> None:
    """It is needed where the ledger does not know the addresses of a namespace, and said then."""
    (tmp_path / "pyroute2.py").write_text("raise ImportError('not installed')\n")
    result, _imported = fresh(node, MODULE, asked(PODS), tmp_path)
    assert result.get("changed") is True, result
    done(node, "egress_path", {"networks": [PODS]})
    result, _imported = fresh(node, MODULE, asked(PODS), tmp_path)
    assert (result.get("failed", False), result["changed"]) == (False, False), result
    node.run(["ip", "netns", "add", "c2"])
    before = settled(node)
    result, _imported = fresh(node, MODULE, asked({**PODS, "namespaces": ["c1", "c2"]}), tmp_path)
    assert (result.get("failed"), result.get("missing")) == (True, "pyroute2"), result
    assert difference(before, settled(node)) == ""


def test_network_that_is_absent(node: Node) -> None:
    done(node, MODULE, asked(PODS, APPS))
    assert done(node, MODULE, asked(PODS, {"name": "apps", "state": "absent"})) == [DELETED[1]]
    assert done(node, MODULE, asked(PODS)) == []


@pytest.mark.parametrize("damage", [f"chmod 644 {DIRECTORY}/pods.json", f"sed -i s/c1/c2/ {DIRECTORY}/pods.json"])
def test_drift_is_put_right(node: Node, damage: str) -> None:
    done(node, MODULE, asked(PODS))
    before = settled(node)
    node.run(["sh", "-ec", damage])
    result = run(node, MODULE, asked(PODS))
    assert result["actions"] == WRITTEN[:1]
    assert result["diff"]["before"] != result["diff"]["after"]
    assert difference(before, settled(node)) == ""


def test_another_interpreter(node: Node) -> None:
    done(node, MODULE, asked(PODS))
    assert done(node, MODULE, asked(PODS, interpreter="/usr/bin/python3")) == WRITTEN[2:]
    assert node.run(["head", "-n1", PROGRAM]).stdout == "#!/usr/bin/python3\n"


@pytest.mark.parametrize(
    ("prepare", "options", "words"),
    [
        ("", {"path": "netpath-egress"}, "'netpath-egress' is no path"),
        ("", {"path": "/etc/../etc/netpath-egress"}, "is no path of a file"),
        ("", {"path": "/etc/nowhere/netpath-egress"}, "its directory is not there"),
        ("", {"interpreter": "python3"}, "'python3' is no path of a program"),
        ("", {"interpreter": "/usr/bin/python3\nrm"}, "is no path of a program"),
        ("", {"interpreter": "/" + "x" * 300}, "is no path of a program"),
        ("", {"networks": [{**PODS, "subnets": ["10.22.33.1/24"]}]}, "networks[0].subnets[0]"),
        (f"echo own > {PROGRAM}", {}, "somebody else's file has this name. Move it away"),
        (f"mkdir {PROGRAM}", {}, "it is not a plain file"),
        (f"ln -s /bin/true {PROGRAM}", {}, "it is a symbolic link"),
        (f"mkdir -p {DIRECTORY}; echo own > {DIRECTORY}/pods.json", {}, "somebody else's file has this name"),
        ("chmod g+w /etc/sysctl.d", {}, "others than root may write there"),
    ],
)
def test_refused(node: Node, prepare: str, options: Options, words: str) -> None:
    """Nothing is changed, also where the file of the network came first."""
    node.run(["sh", "-ec", prepare or "true"])
    result = refused(node, MODULE, {**asked(PODS), **options})
    assert words in result["msg"]


def test_files_of_others_stay(node: Node) -> None:
    node.run(["sh", "-ec", f"mkdir -p {DIRECTORY}; echo own > {DIRECTORY}/pods.json; echo own > {PROGRAM}"])
    assert done(node, MODULE, asked(PODS, state="absent")) == []
    assert node.run(["cat", f"{DIRECTORY}/pods.json", PROGRAM]).stdout == "own\nown\n"


def test_it_is_built_from_a_zip_as_well(tmp_path: Path) -> None:
    """As Ansible brings the module to a host. The bytes are the same."""
    engine = Path(bundle.__file__).resolve().parents[1]
    archive = tmp_path / "carried.zip"
    with zipfile.ZipFile(archive, "w") as carried:
        for file in engine.rglob("*.py"):
            carried.write(file, file.relative_to(engine.parent))
    program = f"import sys; sys.path.insert(0, {str(archive)!r}); from _engine.program import bundle\n"
    program += "sys.stdout.buffer.write(bundle.executable())"
    built = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True, cwd=tmp_path)
    assert built.stdout == bundle.executable()
