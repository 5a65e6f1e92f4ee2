"""The ledger as a file: what a later release wrote in it is refused, and nothing of it is called damaged."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import ledger as ledgers
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import DamagedError, Draft, from_json
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST, Assignment, Claim, Link, Setting
from ansible_collections.netpath.egress.plugins.module_utils._engine.sealed import seal
from hypothesis import given
from hypothesis import strategies as st

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


def test_forgetting_takes_the_notes_on_an_identity_along() -> None:
    sender, note = ("sender", HOST, "np-c1"), ("sender", HOST, "np-c1", "c1", "02:00:00:00:00:01")
    noted = KNOWN.recorded(sender, None).recorded(note, None)
    assert noted.forgotten(sender) == KNOWN
    assert noted.forgotten(("sender", HOST, "np-c2")) == noted


_SPACES = st.sampled_from([HOST, "c1", "c2"])
_IDENTITIES = st.one_of(
    st.tuples(st.sampled_from(["setting", "sender", "link"]), _SPACES, st.sampled_from(["a", "b"])),
    st.tuples(st.just("hairpin"), _SPACES, _SPACES, st.sampled_from(["a", "b"])),
    st.tuples(st.just("file"), st.sampled_from(["c1", "/etc/x"])),
)
_EDITS = st.one_of(
    st.tuples(st.just("recorded"), _IDENTITIES, st.none()),
    st.tuples(st.just("forgotten"), _IDENTITIES),
    st.tuples(st.sampled_from(["claimed", "unclaimed"]), st.builds(Claim, st.just("pods"), _SPACES, st.just(KEY))),
    st.tuples(st.just("without_namespace"), _SPACES),
    st.tuples(st.just("assigned"), st.lists(st.builds(Assignment, _SPACES, st.just("pods"), st.just("np-c1")))),
    st.tuples(st.just("unassigned"), st.sampled_from(["pods", "lab", ""]), st.sampled_from(["np-c1", "np-c2"])),
)


@given(st.lists(_EDITS, max_size=12))
def test_draft_becomes_what_a_ledger_becomes(edits: list[tuple[t.Any, ...]]) -> None:
    ledger, draft = KNOWN, Draft(KNOWN)
    for name, *arguments in edits:
        ledger = getattr(ledger, name)(*arguments)
        assert getattr(draft, name)(*arguments) is draft
    assert draft.finished() == ledger
    for words in {key[:length] for key in ledger.originals for length in (1, 2, 3)}:
        assert draft.beginning_with(words) == ledger.beginning_with(words)
    assert [draft.within(netns) for netns in (HOST, "c1")] == [ledger.within(netns) for netns in (HOST, "c1")]
    assert KNOWN.originals == {("setting", HOST, KEY): Setting(HOST, KEY, "0")}
