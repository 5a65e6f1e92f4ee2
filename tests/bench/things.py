"""What is measured. A course is a node in which steps follow each other; only the first of them is a build."""

from __future__ import annotations

import functools
import json
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.bench import cost, proof, tools
from tests.bench.cost import Cost
from tests.lab.node import Node

NETWORK = "bench"
_SUBNET = "10.22.0.0/16"
_FILES = "/etc/netpath/networks.d"
_TARGET = "198.51.100.80"
OK, UNKNOWN = 0, 2  # exit codes of a check


@dataclass(frozen=True)
class Place:
    """Where a course runs: a node of its own, a folder, and how many namespaces it is about."""

    node: Node
    folder: Path
    size: int

    def run(self, *argv: object, accepted: t.Container[int] = (0,)) -> Cost:
        """Measure a command."""
        return cost.run(self.node.popen, [str(word) for word in argv], self.folder, accepted)

    def keep(self, name: str, content: t.Any) -> Path:
        """Write JSON for a command."""
        path = self.folder / name
        path.write_text(json.dumps(content), encoding="ascii")
        return path


@dataclass(frozen=True)
class Step:
    """One measured thing. proven: how it is seen, afterwards, that it did what it should."""

    name: str
    title: str
    run: t.Callable[[Place], Cost]
    proven: t.Callable[[Place], None]


@dataclass(frozen=True)
class Course:
    """Steps in one node, the first of which the others need."""

    steps: tuple[Step, ...]

    def chosen(self, only: t.Collection[str]) -> tuple[Step, ...]:
        """The steps that somebody asked for, and the first with them; all if nobody asked."""
        if not only:
            return self.steps
        wanted = [step for step in self.steps if step.name in only]
        return tuple(step for step in self.steps if wanted and (step in wanted or step is self.steps[0]))


def names(count: int) -> list[str]:
    """Of the namespaces."""
    return [f"s{number}" for number in range(1, count + 1)]


def _address(number: int) -> str:
    # The gateway has the first address of the subnet.
    return f"10.22.{(number + 1) // 256}.{(number + 1) % 256}"


def _network(count: int, state: str = "present") -> dict[str, t.Any]:
    made = {"prefix": "s", "count": count}
    return {"name": NETWORK, "state": state, "bridge": "br0", "subnets": [_SUBNET], "namespaces": [made]}


def _script(name: str, place: Place) -> Cost:
    return place.run(tools.HERE / "peers" / f"{name}.sh", place.size)


def _floor(order: str, place: Place) -> Cost:
    return place.run(tools.FLOOR, place.size, order)


def _playbook(place: Place, program: Path, playbook: Path, variables: t.Mapping[str, t.Any]) -> Cost:
    python = tools.interpreter(place.folder / "modules")
    extra = place.keep("variables.json", {**variables, "ansible_python_interpreter": str(python)})
    return place.run(program, "-i", "localhost,", "-c", "local", playbook, "-e", f"@{extra}")


def _idiomatic(place: Place) -> Cost:
    addresses = {name: _address(number) for number, name in enumerate(names(place.size), 1)}
    variables = {"namespaces": list(addresses), "addresses": addresses}
    return _playbook(place, tools.PEERS / "bin" / "ansible-playbook", tools.HERE / "peers" / "idiomatic.yml", variables)


def _role(playbook: str, place: Place) -> Cost:
    return _playbook(place, tools.ANSIBLE, tools.HERE / playbook, {"egress_networks": [_network(place.size)]})


def _apply(more: int, place: Place) -> Cost:
    _describe(place, _network(place.size + more), place.size if more else 0)
    only = ["--only", names(place.size + 1)[-1]] if more and tools.supports_only() else []
    return place.run(tools.PROGRAM, "apply", *only)


def _remove(place: Place) -> Cost:
    _describe(place, _network(place.size + 1, "absent"))
    return place.run(tools.PROGRAM, "apply")


def _describe(place: Place, network: t.Mapping[str, t.Any], there: int = 0) -> None:
    """Write the file of the network as the role would, in the node. there: how many namespaces stand already."""
    addresses = {name: [f"{_address(number)}/16"] for number, name in enumerate(names(there), 1)}
    text = json.dumps({"version": 1, "network": network, "addresses": addresses})
    place.node.run(["sh", "-ec", f"mkdir -p {_FILES} && cat > {_FILES}/{NETWORK}.json"], input=text)


def _check(options: t.Sequence[str], place: Place) -> Cost:
    accepted = (OK, UNKNOWN) if "--no-probe" in options else (OK,)
    return place.run(tools.PROGRAM, "check", *options, accepted=accepted)


def _built(more: int, place: Place) -> None:
    proof.has(place.node, place.size + more)
    proof.reaches_internet(place.node, names(place.size + more)[-1])


def _stands(place: Place) -> None:
    proof.has(place.node, place.size)
    proof.reaches_gateway(place.node, names(place.size)[-1])


def _gone(place: Place) -> None:
    proof.has(place.node, 0)


def _nothing(_place: Place) -> None:
    """The exit code has said it."""


_on = functools.partial
_whole, _more = _on(_built, 0), _on(_built, 1)
COURSES = (
    Course((Step("floor-early", "kernel's floor, bridge up first", _on(_floor, "early"), _stands),)),
    Course(
        (
            Step("floor-late", "kernel's floor, bridge up last", _on(_floor, "late"), _stands),
            Step("floor-gone", "- taken away", _on(_floor, "gone"), _gone),
        )
    ),
    Course((Step("recipe", "recipe of guides, ip(8)", _on(_script, "recipe"), _whole),)),
    Course((Step("cni", "CNI bridge plugin", _on(_script, "cni"), _whole),)),
    Course((Step("netavark", "netavark", _on(_script, "netavark"), _whole),)),
    Course((Step("idiomatic", "Ansible with loops", _idiomatic, _whole),)),
    Course(
        (
            Step("program", "netpath-egress apply", _on(_apply, 0), _whole),
            Step("program-again", "- again, nothing to do", _on(_apply, 0), _whole),
            Step("program-check", "- check --no-probe", _on(_check, ("--no-probe",)), _nothing),
            Step("program-probe", "- check", _on(_check, ("--target", _TARGET)), _nothing),
            Step("program-added", "- apply, one more namespace", _on(_apply, 1), _more),
            Step("program-teardown", "- apply, network absent", _remove, _gone),
        )
    ),
    Course(
        (
            Step("role", "ansible-playbook, role egress", _on(_role, "build.yml"), _whole),
            Step("role-again", "- again, nothing to do", _on(_role, "build.yml"), _whole),
            Step("role-teardown", "- role teardown", _on(_role, "teardown.yml"), _gone),
        )
    ),
)
STEPS = {step.name: step for course in COURSES for step in course.steps}
