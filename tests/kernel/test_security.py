"""What an unprivileged user of a host, or a name in an inventory, could try: docs/security.md, line by line."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError, KernelError, SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import files, lock
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run as engine_run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import parse_networks
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction import confirmation, record

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, refusal
from tests.support.run_module import done, run
from tests.support.spec_questions import Options, all_of

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "subnets": ["10.22.33.0/24"],
    "namespaces": [{"name": "c1", "dns": {"servers": ["198.51.100.80"]}}],
}
PLACES = ("/etc/netpath", "/etc/netns", "/etc/sysctl.d", "/etc/systemd/system", "/var/lib/netpath", "/var/log/netpath")
PRIVATE = ("/etc/netpath/networks.d/", "/var/lib/netpath/", "/var/log/netpath/")
ENGINE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils" / "_engine"
NOBODY = 65534
HOSTILE = ["a;reboot", "$(reboot)", "a b", "a/b", "..", "a\nb", "a\x00b", "a'b", 'a"b', "{{x}}", "a}b", "ä" * 9]
# The kernel takes these for interfaces.
LEGAL = ["a;reboot", "$(reboot)", "{{x}}", "a}b", "-j"]


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1, internet=False) as world:
        yield world.nodes[0]


def persist(*networks: Options) -> Options:
    return {"networks": list(networks), "persist": True, "path": "/usr/local/sbin/netpath-egress"}


def as_nobody(function: t.Callable[[], t.Any]) -> t.Any:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return function()


@pytest.mark.smoke
def test_files_are_those_of_root_alone(node: Node) -> None:
    def carelessly() -> None:
        os.umask(0)
        build_at_once([PODS])
        audit.write(audit.Line("watch", "pods", [], {}, {}))

    node.call(carelessly)
    done(node, "egress_program", persist(PODS))

    def modes() -> dict[str, tuple[int, int, int]]:
        found = {}
        for place in PLACES:
            for path in (Path(place), *Path(place).rglob("*")):
                status = path.lstat()
                if "netpath" in str(path) or "/netns/" in str(path):
                    found[str(path)] = (status.st_uid, status.st_gid, status.st_mode)
        return found

    found = node.call(modes)
    for path, (user, group, mode) in found.items():
        assert (user, group) == (0, 0), path
        assert stat.S_ISLNK(mode) or not mode & (stat.S_IWGRP | stat.S_IWOTH), path
        if path.startswith(PRIVATE):
            assert not mode & stat.S_IRWXO, path
    for place in PRIVATE:
        assert [path for path in found if path.startswith(place)], place


def test_record_of_a_change_that_awaits_confirmation_is_roots(node: Node) -> None:
    def armed() -> tuple[int, str]:
        asked = {"rp_filter": 1, "interfaces": ["uplink0"]}
        result = engine_run(lambda host: all_of(("sysctl_forward", asked), host=host), confirm_within=30)
        assert result.unconfirmed
        assert result.unconfirmed[0] not in Path(record.PATH).read_text()
        return stat.S_IMODE(Path(record.PATH).stat().st_mode), result.unconfirmed[0]

    def guess(token: str) -> str:
        try:
            as_nobody(lambda: confirmation.confirm(token))
        except Exception as error:  # noqa: BLE001 (whatever stands in the way)
            return str(error)
        return ""

    mode, token = node.call(armed)
    assert mode == 0o600
    assert "root" in node.call(guess, token)
    node.call(confirmation.confirm, token)


@pytest.mark.parametrize("path", ["/var/lib/netpath/ledger.json", "/var/log/netpath/audit.jsonl", lock.PATH])
def test_symbolic_links_are_not_followed(node: Node, path: str) -> None:
    node.run(["sh", "-ec", f"mkdir -p {Path(path).parent}; echo precious >/etc/victim; ln -s /etc/victim {path}"])
    text = node.run(["cat", "/etc/victim"]).stdout

    def write() -> str:
        try:
            build_at_once([PODS])
            audit.write(audit.Line("watch", "pods", [], {}, {}))
        except EgressError as error:
            return str(error)
        return ""

    assert node.call(write) != ""
    assert node.run(["cat", "/etc/victim"]).stdout == text


def test_nothing_is_written_where_others_may_write(node: Node) -> None:
    node.run(["sh", "-ec", "mkdir -p /var/lib/netpath; chmod 0777 /var/lib/netpath"])
    before = settled(node)
    assert "others than root may write there" in refusal(node, build_at_once, [PODS]).text
    assert difference(before, settled(node)) == ""
    refused = run(node, "egress_program", {**persist(PODS), "path": "/var/lib/netpath/program"})
    assert "others than root may write there" in refused["msg"]


def test_no_command_goes_through_a_shell() -> None:
    for file in ENGINE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "shell=True" not in text, file
        assert "os.system" not in text, file
        assert "os.popen" not in text, file


def test_unprivileged_user_gains_nothing(node: Node) -> None:
    node.call(build_at_once, [PODS])
    before = settled(node)
    done_by_nobody = refusal(node, lambda: as_nobody(lambda: build_at_once([PODS], absent=True)))
    assert done_by_nobody.kind in ("KernelError", "UnsupportedError")
    assert difference(before, settled(node)) == ""
    assert not node.call(lambda: as_nobody(lambda: os.access("/var/lib/netpath/ledger.json", os.R_OK)))


@pytest.mark.parametrize(
    ("place", "word"),
    [
        *((place, word) for place in ("name", "namespace") for word in HOSTILE),
        *((place, word) for place in ("bridge", "interface", "uplink") for word in HOSTILE if word not in LEGAL),
    ],
)
def test_names_cannot_become_rules_or_paths(place: str, word: str) -> None:
    """Refused before anything is looked at."""
    asked: dict[str, Options] = {
        "name": {"name": word},
        "bridge": {"bridge": word},
        "namespace": {"namespaces": [word]},
        "interface": {"namespaces": [{"name": "c1", "interface": word}]},
        "uplink": {"uplink": [word]},
    }
    with pytest.raises(SpecError, match=r"^networks\[0\]"):
        parse_networks([{**PODS, **asked[place]}], "networks")


@pytest.mark.parametrize("word", LEGAL)
def test_odd_names_are_names(node: Node, word: str) -> None:
    before = settled(node)
    network: Options = {**PODS, "bridge": word, "namespaces": [{"name": "c1", "interface": word}]}
    node.call(build_at_once, [network])
    assert node.call(build_at_once, [network]) == []
    assert f"{word} " in node.run(["ip", "-br", "link"]).stdout
    node.call(build_at_once, [network], absent=True)
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("place", ["/etc/netpath", "/var/lib/netpath"])
def test_full_disk_keeps_what_is_there(node: Node, place: str) -> None:
    node.call(build_at_once, [PODS])
    done(node, "egress_program", persist(PODS))
    node.run(
        ["sh", "-ec", f"cp -a {place} /run/kept; mount -t tmpfs -o size=16k tmpfs {place}; cp -a /run/kept/. {place}"]
    )
    node.run(["sh", "-c", f"cat /dev/zero >{place}/ballast 2>/dev/null; true"])
    before = settled(node)
    more = {**PODS, "namespaces": [*PODS["namespaces"], "c2", "c3"]}
    if place == "/etc/netpath":
        assert "No space left on device" in run(node, "egress_program", persist(more))["msg"]
    else:
        # Which settings another network needs is written down there.
        apps = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}
        assert "No space left on device" in refusal(node, build_at_once, [apps]).text
    assert difference(before, settled(node)) == ""
    node.run(["umount", place])


def test_file_system_that_is_read_only(node: Node) -> None:
    node.call(build_at_once, [PODS])
    done(node, "egress_program", persist(PODS))
    node.run(["sh", "-ec", "mount --bind /etc/netpath /etc/netpath; mount -o remount,bind,ro /etc/netpath"])
    before = settled(node)
    more = {**PODS, "namespaces": ["c1", "c2"]}
    assert "Read-only file system" in run(node, "egress_program", persist(more))["msg"]
    assert difference(before, settled(node)) == ""
    # Which has nothing to do with the path itself.
    assert "create namespace c2" in node.call(build_at_once, [more])
    node.run(["umount", "/etc/netpath"])


def test_directory_in_the_place_of_a_file(node: Node) -> None:
    node.run(["mkdir", "-p", "/var/log/netpath/audit.jsonl"])

    def write() -> str:
        try:
            audit.write(audit.Line("watch", "pods", [], {}, {}))
        except KernelError as error:
            return error.asked
        return ""

    assert node.call(write) == f"write {audit.PATH}"
    assert files.mode("/nonexistent") is None
