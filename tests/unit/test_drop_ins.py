"""Files that keep systemd-networkd and NetworkManager away: what they say, and when they are written and removed."""

from __future__ import annotations

import ctypes
import re

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
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.spec_questions import Host, Options, found, want

FILES = {
    NETWORKD: File(
        "/etc/systemd/network/00-netpath-br0.network",
        "# netpath:pods\n[Match]\nName=br0 np-ns1\n\n[Link]\nUnmanaged=yes\n",
    ),
    NETWORK_MANAGER: File(
        "/etc/NetworkManager/conf.d/90-netpath-br0.conf",
        "# netpath:pods\n[keyfile]\nunmanaged-devices+=interface-name:=br0;interface-name:=np-ns1\n",
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


# All that an interface may be called, with what patterns are made of often.
NAMES = st.text(st.sampled_from("*?[]!^-~=#;,.$@+()|{}&ab0"), min_size=1, max_size=15).filter(
    lambda n: n not in (".", "..")
)
LINKS = ["mgmt0", "eth0", "uplink0", "lo", "!", "a", "**", "[a]", "a-b"]


def matched_by_networkd(content: str, link: str) -> bool:
    """As systemd.network(5) reads Name=: words, without their backslashes, are patterns of fnmatch(3), and "!" inverts.

    A name that would not be valid is ignored (ifname_valid_full in systemd's src/basic/socket-util.c).
    """
    library = ctypes.CDLL(None)
    (value,) = re.findall(r"^Name=(.*)$", content, re.MULTILINE)
    words = [re.sub(r"\\(.)", r"\1", word) for word in value.split(" ")]
    words = [word for word in words if word.isascii() and not re.search(r"[:/%]", word)]
    inverted = value.startswith("!")
    patterns = [word.removeprefix("!") for word in words]
    matches = [library.fnmatch(pattern.encode(), link.encode(), 0) == 0 for pattern in patterns]
    return not any(matches) if inverted else any(matches)


def matched_by_network_manager(content: str, link: str) -> bool:
    """As NetworkManager.conf(5) reads a list of devices: "=" is for a literal name, a backslash escapes separators."""
    (value,) = re.findall(r"^unmanaged-devices\+=(.*)$", content, re.MULTILINE)
    specs = re.findall(r"(?:\\.|[^;,\\])+", value)
    literal = [re.sub(r"\\(.)", r"\1", spec).partition("interface-name:=") for spec in specs]
    assert all(before == "" and equals for before, equals, _name in literal)
    return link in [name for _before, _equals, name in literal]


@settings(max_examples=500)
@given(names=st.lists(NAMES, min_size=1, max_size=3, unique=True), other=st.one_of(NAMES, st.sampled_from(LINKS)))
def test_links_alone_are_matched_whatever_they_are_called(names: list[str], other: str) -> None:
    for manager, matched in ((NETWORKD, matched_by_networkd), (NETWORK_MANAGER, matched_by_network_manager)):
        content = drop_in(manager, names[0], names[1:]).content or ""
        assert all(matched(content, name) for name in names)
        assert matched(content, other) == (other in names)


@pytest.mark.parametrize("name", ["!!!!!", "?????", "*", "$$$$$$$", "~~~~", "[!a]*", "!a", "网0", "網橋乙0"])
@pytest.mark.parametrize("link", LINKS)
def test_links_of_the_host_stay_managed(name: str, link: str) -> None:
    assert not matched_by_networkd(drop_in(NETWORKD, name).content or "", link)
    assert not matched_by_network_manager(drop_in(NETWORK_MANAGER, name).content or "", link)


def test_bridge_in_a_namespace() -> None:
    with pytest.raises(SpecError) as caught:
        want("linux_bridge", {**BRIDGE, "netns": "ns1"})
    assert caught.value.asked == "unmanaged"


def test_other_files_are_nobodys() -> None:
    assert manager_of("/etc/sysctl.d/90-netpath-egress.conf") == ""
    assert manager_of("/etc/systemd/network/10-uplink.network") == ""
