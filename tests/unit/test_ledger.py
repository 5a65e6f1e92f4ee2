"""The ledger as a file: what a later release wrote in it is refused, and nothing of it is called damaged."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import ledger as ledgers
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import DamagedError, from_json
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST, Claim, Link, Setting
from ansible_collections.netpath.egress.plugins.module_utils._engine.sealed import seal

KEY = "net/ipv4/ip_forward"
KNOWN = ledgers.EMPTY.claimed(Claim("pods", HOST, KEY, "1")).recorded(("setting", HOST, KEY), Setting(HOST, KEY, "0"))


def data() -> t.Any:
    found = json.loads(KNOWN.recorded(("link", HOST, "br0"), Link(HOST, "br0", mtu=1400)).to_json())
    del found["sha256"]
    return found


def with_field(found: t.Any) -> None:
    found["claims"][0]["reason"] = "later"


def with_field_of_an_original(found: t.Any) -> None:
    found["originals"][-1]["original"]["colour"] = 7


def with_kind(found: t.Any) -> None:
    found["originals"].append({"identity": ["tunnel", "", "t0"], "original": {"fact": "Tunnel", "name": "t0"}})


def with_part(found: t.Any) -> None:
    found["leases"] = []


def with_version(found: t.Any) -> None:
    found["version"] = 2


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    "change", [with_field, with_field_of_an_original, with_kind, with_part, with_version], ids=lambda one: one.__name__
)
def test_of_a_later_release(change: t.Callable[[t.Any], None], sealed: bool) -> None:
    found = data()
    change(found)
    with pytest.raises(ConflictError) as refused:
        from_json(seal(found) if sealed else json.dumps(found))
    assert not isinstance(refused.value, DamagedError)
    assert refused.value.advice == "Run the release that wrote it, or a later one"


def test_damaged() -> None:
    text = seal(data())
    for broken in (text[:100], text.replace("1400", "1500"), "[]", '{"version": 1}'):
        with pytest.raises(DamagedError):
            from_json(broken)
    assert from_json(KNOWN.to_json()) == KNOWN


def test_forgetting_takes_the_notes_on_an_identity_along_and_copies_nothing_otherwise() -> None:
    sender, note = ("sender", HOST, "np-c1"), ("sender", HOST, "np-c1", "c1", "02:00:00:00:00:01")
    noted = KNOWN.recorded(sender, None).recorded(note, None)
    assert noted.forgotten(sender) == KNOWN
    # One copy for each of thousands of absent facts would make planning quadratic.
    assert noted.forgotten(("sender", HOST, "np-c2")) is noted
