"""The archive that users install, in a path with nothing else and without its documentation, tests and extensions."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.playbook_runs import APPS, ROOT, Playbooks, answers

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    done = subprocess.run(
        [ROOT / "scripts/release/build.sh", tmp_path / "build"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path / "build" / "installed"
    # Neither Ansible nor Python knows of the checkout then.
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(path))
    known = os.environ["PYTHONPATH"].replace(str(ROOT / "build" / "collections"), str(path))
    monkeypatch.setenv("PYTHONPATH", known)
    return path / "ansible_collections/netpath/egress"


def test_archive_works_by_itself(installed: Path, tmp_path: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.is_dir()} == {"meta", "playbooks", "plugins", "roles"}
    with World(nodes=1) as world:
        playbooks, node = Playbooks(world, tmp_path), world.nodes[0]
        before = node.snapshot()
        built = playbooks.run("netpath.egress.site", "-vv", networks=[APPS])
        assert built.status == 0, built.output
        assert str(installed / "roles/egress") in built.output
        assert str(ROOT / "roles") not in built.output
        assert answers(node, "a1")[4] == node.address
        assert playbooks.run("netpath.egress.diagnose", networks=[APPS]).status == 0
        torn = playbooks.run("netpath.egress.teardown", networks=[APPS])
        assert torn.status == 0, torn.output
        assert difference(before, node.snapshot()) == ""
