"""What others choose, such as packets on the wire and files in a container, ends no check."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.probing import _followed, _nameservers
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.mounts import is_namespace
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.probes import Flow, Target, dns_question
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.taps import Packet
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import drawing, findings, history, query

TARGET = "198.51.100.80"


def _packet(words: int, rest: bytes) -> bytes:
    """From the target, by ICMP, with a header of so many words."""
    ends = socket.inet_aton(TARGET) + socket.inet_aton("198.18.0.11")
    return bytes([0x40 | words]) + bytes(8) + b"\x01\0\0" + ends + rest


@pytest.mark.parametrize("words", [0, 4, 5, 15])
@pytest.mark.parametrize("quoted", range(24))
def test_packets_that_are_cut_short(words: int, quoted: int) -> None:
    error = b"\x03\x03" + bytes(6) + b"\x45" * quoted
    assert Flow(Target(TARGET), bytes(16), 0.0).sight("host", Packet("up0", False, _packet(words, error))) is None


def test_resolver_configuration_that_is_no_file(tmp_path: Path) -> None:
    pipe, endless, plain = tmp_path / "pipe", tmp_path / "endless", tmp_path / "plain"
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    plain.write_text("search example.org\nnameserver 198.51.100.80\n", encoding="ascii")
    assert _nameservers(str(pipe)) is None
    assert _nameservers(str(endless)) is None
    assert _nameservers(str(plain)) == [TARGET]


def test_handle_whose_name_is_no_text() -> None:
    assert not is_namespace("/run/netns/" + os.fsdecode(b"\xff"))


def test_query_that_is_too_deep() -> None:
    pytest.importorskip("jmespath")
    with pytest.raises(query.QueryError):
        query.select([], "!" * 5000 + "@")


def test_link_whose_state_is_something_else() -> None:
    verdict = {"status": "broken", "links": [{"hop": "link", "name": "eth0", "up": {"a": 1}}]}
    assert drawing.card("host", verdict, "p0")["links"][0]["state"] == "?"


def test_earlier_report_whose_time_steers_the_terminal() -> None:
    told = history.compare({"generated": "\x1b]0;x\x07\ud800", "hosts": {}}, {})
    assert told["previous"] == "\ufffd]0;x\ufffd\ufffd"


def test_numbers_that_json_does_not_have() -> None:
    assert findings.clean({"a": [float("nan"), float("inf"), 1.5, 2, True]}) == {"a": ["nan", "inf", 1.5, 2, True]}


def test_links_of_a_container_stay_inside(tmp_path: Path) -> None:
    for folder in ("etc", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "run/resolv").write_text("nameserver 198.51.100.80\n", encoding="ascii")
    (tmp_path / "etc/resolv.conf").symlink_to("/run/resolv")
    assert _followed(str(tmp_path), "/etc/resolv.conf") == f"{tmp_path}/run/resolv"
    (tmp_path / "run/resolv").unlink()
    (tmp_path / "run/resolv").symlink_to("../../../../../../etc/resolv.conf")
    assert _followed(str(tmp_path), "/etc/resolv.conf") == ""


def test_question_has_a_place_for_the_token() -> None:
    question = dns_question(bytes(range(16)))
    assert question[:2] == b"\0\1"
    assert question.endswith(bytes(range(16)))


# As ansible-core 2.18 marks texts: str() of one is one.
Marked: type[str] = type("Marked", (str,), {"__str__": lambda text: text})


def test_marked_text_becomes_plain() -> None:
    cleaned = findings.clean({Marked("key"): [Marked("te\x1bxt")]})
    assert cleaned == {"key": ["te\N{REPLACEMENT CHARACTER}xt"]}
    assert {type(key) for key in cleaned} == {type(cleaned["key"][0])} == {str}
