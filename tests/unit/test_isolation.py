"""Which networks are built together where some cannot be, as tables: no host is looked at."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.isolation import Outcome, isolated
from ansible_collections.netpath.egress.plugins.module_utils._engine.result import Result

NAMES = [f"n{number}" for number in range(16)]


class Host:
    """Refuses networks when they are planned, or only when they are built, and notes what was tried."""

    def __init__(
        self,
        refused: t.Collection[str] = (),
        failing: t.Collection[str] = (),
        needs: t.Mapping[str, str] | None = None,
        hazards: t.Collection[str] = (),
        spoiled: t.Mapping[str, str] | None = None,
    ) -> None:
        """spoiled: namespaces in which something stands in the way, with their networks."""
        self.refused, self.failing, self.needs, self.hazards = refused, failing, needs or {}, hazards
        self.spoiled = spoiled or {}
        self.there: set[str] = set()
        self.tried = 0

    def attempt(self, names: t.Sequence[str], check: bool, spared: t.Collection[str]) -> Result:
        self.tried += 1
        for namespace, name in self.spoiled.items():
            if name in names and namespace not in spared and not check:
                raise ConflictError(f"change {namespace}", "the kernel refuses").inside([namespace])
        for name in names:
            found = self.needs.get(name)
            if name in self.refused or (not check and name in self.failing):
                raise ConflictError(f"build {name}", "it is taken")
            if found and found not in {*names, *self.there}:
                raise ConflictError(f"build {name}", f"{found} is in the way")
        new = [name for name in names if name not in self.there]
        if not check:
            self.there.update(names)
        waits = ("token", ["cut"]) if not check and set(new) & set(self.hazards) else None
        left = {namespace: [self.spoiled[namespace]] for namespace in spared}
        lines = [f"create {name}" for name in new]
        return Result(bool(new), lines, unconfirmed=waits, networks=frozenset(new), spared=left)


def actions(outcome: Outcome) -> set[str]:
    return set(outcome.result.actions)


def made(*names: str) -> set[str]:
    return {f"create {name}" for name in names}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("refused", [["n0"], ["n15"], ["n3", "n4"], ["n1", "n8", "n14"], NAMES[1:]])
def test_others_are_built(refused: list[str], check: bool) -> None:
    host = Host(refused)
    outcome = isolated(NAMES, host.attempt, check)
    assert list(outcome.failed) == refused
    assert [str(error) for error in outcome.failed.values()] == [f"build {name}: it is taken" for name in refused]
    sound = [name for name in NAMES if name not in refused]
    assert actions(outcome) == made(*sound)
    assert len(outcome.together) == 1
    assert host.there == (set() if check else set(sound))


def test_what_fails_only_while_it_is_built() -> None:
    host = Host(failing=["n5"])
    assert isolated(NAMES, host.attempt, True).failed == {}
    outcome = isolated(NAMES, host.attempt, False)
    assert list(outcome.failed) == ["n5"]
    assert host.there == set(NAMES) - {"n5"}
    assert outcome.result.networks == host.there
    assert actions(outcome) == made(*host.there)


def test_one_that_needs_what_another_frees() -> None:
    outcome = isolated(NAMES, Host(["n7"], needs={"n0": "n15", "n1": "n7"}).attempt, False)
    assert list(outcome.failed) == ["n1", "n7"]
    assert "create n0" in actions(outcome)


def test_few_attempts_for_few_of_many() -> None:
    names = [f"n{number}" for number in range(1000)]
    host = Host(["n777"])
    isolated(names, host.attempt, False)
    assert host.tried < 30


@pytest.mark.parametrize("check", [True, False])
def test_reason_of_the_host_stands_in_the_way_of_all(check: bool) -> None:
    def attempt(_names: t.Sequence[str], _check: bool, _spared: t.Collection[str]) -> Result:
        raise ConflictError("change the network", "another run holds the lock").for_all()

    with pytest.raises(ConflictError, match="holds the lock"):
        isolated(NAMES, attempt, check)


def test_same_reason_for_all_is_told_once() -> None:
    def attempt(_names: t.Sequence[str], _check: bool, _spared: t.Collection[str]) -> Result:
        raise ConflictError("write the ledger", "no space")

    with pytest.raises(ConflictError, match=r"^write the ledger: no space$"):
        isolated(NAMES, attempt, False)


def test_one_network_alone() -> None:
    outcome = isolated(["n1"], Host(["n1"]).attempt, False)
    assert (list(outcome.failed), outcome.result.changed) == (["n1"], False)


def test_namespace_keeps_down_no_more_than_itself() -> None:
    host = Host(spoiled={"c2": "n1", "c3": "n1", "d1": "n2"})
    outcome = isolated(NAMES, host.attempt, False)
    assert host.there == outcome.built == set(NAMES)
    rest = "All else of the network is as asked for"
    assert {name: str(error) for name, error in outcome.failed.items()} == {
        "n1": f"build namespaces c2, c3: change c2: the kernel refuses; change c3: the kernel refuses. {rest}",
        "n2": f"build namespace d1: change d1: the kernel refuses. {rest}",
    }
    assert host.tried == 4


def test_namespace_and_a_network_that_fails_for_another_reason() -> None:
    outcome = isolated(NAMES, Host(failing=["n1"], spoiled={"c2": "n1", "d1": "n2"}).attempt, False)
    assert {name: error.asked for name, error in outcome.failed.items()} == {
        "n1": "build n1",
        "n2": "build namespace d1",
    }
    assert outcome.built == set(NAMES) - {"n1"}


def test_very_many_namespaces_are_their_networks() -> None:
    host = Host(spoiled={f"c{number}": "n1" for number in range(100)})
    outcome = isolated(NAMES, host.attempt, False)
    assert (list(outcome.failed), outcome.built) == (["n1"], frozenset(NAMES) - {"n1"})
    assert host.tried < 60


def test_nothing_more_is_built_while_a_change_waits_to_be_confirmed() -> None:
    host = Host(failing=["n2"], hazards=["n0"])
    outcome = isolated(["n0", "n1", "n2", "n3"], host.attempt, False)
    assert outcome.result.unconfirmed == ("token", ["cut"])
    assert host.there == {"n0", "n1"}
    assert {str(outcome.failed[name]) for name in ("n2", "n3")} == {
        "build n0, n1, n2, n3: another change of this run waits to be confirmed. Run it again"
    }
