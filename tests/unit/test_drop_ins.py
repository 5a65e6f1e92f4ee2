"""Files that keep systemd-networkd and NetworkManager away: what they say, and when they are written and removed."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import File, Link
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.drop_ins import (
    MANAGERS,
    NETWORK_MANAGER,
    NETWORKD,
    drop_in,
    manager_of,
)

from tests.support.spec_questions import Host, Options, found, want

FILES = {
    NETWORKD: File(
        "/etc/systemd/network/00-netpath-br0.network",
        "# netpath:pods\n[Match]\nName=br0 np-ns1\n\n[Link]\nUnmanaged=yes\n",
    ),
    NETWORK_MANAGER: File(
        "/etc/NetworkManager/conf.d/90-netpath-br0.conf",
        "# netpath:pods\n[keyfile]\nunmanaged-devices+=interface-name:br0;interface-name:np-ns1\n",
    ),
}
BRIDGE: Options = {"name": "br0", "network": "pods", "unmanaged": ["np-ns1"]}
HAVE = Link("", "br0", kind="bridge", alias="netpath:pods", up=True)


@pytest.mark.parametrize("manager", MANAGERS)
def test_file_is_written_ahead_of_the_bridge(manager: str) -> None:
    plan = make_plan(want("linux_bridge", BRIDGE, host=Host(managing=[manager])), found())
    assert plan.steps[0].after == FILES[manager]
    assert plan.actions == [f"write {FILES[manager].path}", "create bridge br0"]
    assert manager_of(FILES[manager].path) == manager


@pytest.mark.parametrize("manager", MANAGERS)
def test_file_follows_the_links(manager: str) -> None:
    more = {**BRIDGE, "unmanaged": ["np-ns1", "np-ns2"]}
    have = found(HAVE, FILES[manager])
    assert make_plan(want("linux_bridge", BRIDGE, host=Host(managing=[manager])), have).actions == []
    plan = make_plan(want("linux_bridge", more, host=Host(managing=[manager])), have)
    assert plan.actions == [f"rewrite {FILES[manager].path}"]


@pytest.mark.parametrize("options", [BRIDGE, {**BRIDGE, "unmanaged": None}], ids=["nobody manages", "not asked for"])
def test_no_file(options: Options) -> None:
    managing = [] if options["unmanaged"] else MANAGERS
    assert make_plan(want("linux_bridge", options, host=Host(managing=managing)), found()).actions == [
        "create bridge br0"
    ]


def test_files_go_after_the_bridge_whoever_runs_by_then() -> None:
    plan = make_plan(want("linux_bridge", {"name": "br0", "state": "absent"}), found(HAVE, *FILES.values()))
    assert plan.actions[0] == "delete bridge br0"
    assert sorted(plan.actions[1:]) == sorted(f"delete {file.path}" for file in FILES.values())


def test_file_of_somebody_else_stays() -> None:
    foreign = File(FILES[NETWORKD].path, "[Match]\nName=br0\n")
    plan = make_plan(want("linux_bridge", {"name": "br0", "state": "absent"}), found(HAVE, foreign))
    assert plan.actions == ["delete bridge br0"]


def test_file_of_somebody_else_is_put_back_when_the_bridge_goes() -> None:
    foreign = File(FILES[NETWORKD].path, "[Match]\nName=br0\n")
    plan = make_plan(want("linux_bridge", BRIDGE, host=Host(managing=[NETWORKD])), found(foreign))
    assert plan.ledger.originals[foreign.identity] == foreign


def test_names_that_mean_something_there_match_at_least_themselves() -> None:
    text = drop_in(NETWORKD, "br*", ["a;b", "!c", "d%e"]).content or ""
    assert "Name=br? a?b ?c d?e\n" in text


@pytest.mark.parametrize("manager", MANAGERS)
def test_letters_beyond_ascii_stand_for_themselves(manager: str) -> None:
    assert "???0" not in (drop_in(manager, "網橋乙0").content or "")
    assert "網橋乙0\n" in (drop_in(manager, "網橋乙0").content or "")


def test_bridge_in_a_namespace() -> None:
    with pytest.raises(SpecError) as caught:
        want("linux_bridge", {**BRIDGE, "netns": "ns1"})
    assert caught.value.asked == "unmanaged"


def test_other_files_are_nobodys() -> None:
    assert manager_of("/etc/sysctl.d/90-netpath-egress.conf") == ""
    assert manager_of("/etc/systemd/network/10-uplink.network") == ""
