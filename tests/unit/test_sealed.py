"""State files: whatever becomes of a byte, nothing is believed that was not written."""

from __future__ import annotations

import json

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import Ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Claim, Setting
from ansible_collections.netpath.egress.plugins.module_utils._engine.sealed import seal, unseal

KEY = "net/ipv4/ip_forward"
CLAIM, SETTING = Claim("pods", "", KEY, "1"), Setting("", KEY, "0")
WRITTEN = Ledger({SETTING.identity: SETTING}, {CLAIM.identity: CLAIM})
DATA = {"version": 1, "network": {"name": "pods", "subnets": ["10.22.33.0/24"]}}


def test_what_was_written_is_read() -> None:
    assert unseal(seal(DATA)) == DATA
    assert ledger.from_json(WRITTEN.to_json()) == WRITTEN


def test_without_a_seal_it_is_read_too() -> None:
    """Somebody has edited it by hand, or an earlier release has written it."""
    assert unseal(json.dumps(DATA)) == DATA


def test_truncated_at_every_byte() -> None:
    text = WRITTEN.to_json().rstrip()
    for length in range(len(text)):
        with pytest.raises(ConflictError, match="it is damaged"):
            ledger.from_json(text[:length])


def test_every_bit_flipped() -> None:
    for written in (seal(DATA).encode(), WRITTEN.to_json().encode()):
        for place in range(len(written) * 8):
            data = bytearray(written)
            data[place // 8] ^= 1 << place % 8
            try:
                read = unseal(data.decode())
            except ValueError:
                continue
            # In white space, or in the name of the seal itself.
            rest = {key: value for key, value in read.items() if key in json.loads(written) and key != "sha256"}
            assert rest == {key: value for key, value in json.loads(written).items() if key != "sha256"}, place
