"""What a role takes is documented, what it keeps to itself is named so, and tests use nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import role_variables
from tests.support.role_variables import ROOT

# What a role sets for later tasks.
RETURNED = ("egress_result",)
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
USERS = sorted(
    path
    for folder, kinds in (("tests/compat", "*.py"), ("tests/playbooks", "*.py"), ("molecule", "*.yml"))
    for path in (ROOT / folder).rglob(kinds)
)


@pytest.mark.parametrize("role", role_variables.ROLES)
def test_variables_that_a_role_sets_are_private(role: str) -> None:
    """An inventory that has the same name for something else changes nothing."""
    folder = ROOT / "roles" / role
    found = [
        name
        for path in (folder / "tasks").glob("*.yml")
        for name in role_variables.set_by_tasks(role_variables.loaded(path))
    ]
    if (folder / "vars/main.yml").exists():
        found += role_variables.loaded(folder / "vars/main.yml")
    # How a task reaches localhost is no variable of the role.
    found = [name for name in found if name not in RETURNED and not name.startswith("ansible_")]
    assert [name for name in found if not name.startswith(f"__{role}_")] == []
    assert found or role == "teardown"


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_variables_that_a_playbook_sets_are_private(path: Path) -> None:
    for play in role_variables.loaded(path):
        found = [*role_variables.set_by_tasks(play.get("tasks", [])), *play.get("vars", {})]
        assert [name for name in found if not name.startswith("__egress_")] == []


@pytest.mark.parametrize("role", role_variables.ROLES)
def test_defaults_of_a_role_are_its_options(role: str) -> None:
    """All but those that another role of the collection has too."""
    options = role_variables.specs(role)["main"]["options"]
    assert [name for name in options if not name.startswith((f"{role}_", "egress_networks"))] == []
    path = ROOT / "roles" / role / "defaults/main.yml"
    defaults = set(role_variables.loaded(path)) if path.exists() else set()
    assert defaults | {"egress_networks"} == set(options)


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_documented_variables_are_used(path: Path) -> None:
    """A name that no role knows is no mistake for Ansible: a test that uses one tries something else than it says."""
    assert sorted(role_variables.used(path) - role_variables.documented()) == []


def test_users_are_seen() -> None:
    """Of each kind of file, and in each way."""
    used = {path.relative_to(ROOT).as_posix(): role_variables.used(path) for path in USERS}
    assert "remediate_shared" in used["tests/playbooks/test_remediate.py"]
    assert "egress_apply" in used["tests/playbooks/test_site.py"]
    assert "egress_persist" in used["tests/compat/test_compat.py"]
    assert "egress_pip_arguments" in used["molecule/fleet/inventory/hosts.yml"]
