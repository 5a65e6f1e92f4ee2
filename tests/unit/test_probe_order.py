"""What is seen of a probe does not depend on the order in which packets come out of the taps."""

from __future__ import annotations

import struct
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import probes
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.taps import Packet

TARGET = probes.Target("198.51.100.80", "tcp", 7070)
PORT, SEQUENCE = 40000, 77
_IP = struct.Struct("!BBHHHBBH4s4s")


class Held(t.NamedTuple):
    """A tap that has packets."""

    held: t.Sequence[Packet]

    def packets(self) -> t.Iterator[Packet]:
        return iter(self.held)


def packet(at: float, source: str, destination: str, ports: tuple[int, int], numbers: tuple[int, int]) -> Packet:
    ends = [bytes(map(int, address.split("."))) for address in (source, destination)]
    header = _IP.pack(0x45, 0, 40, 0, 0, 64, 6, 0, *ends)
    return Packet(
        "uplink0", source != TARGET.address, header + struct.pack("!HHIIHHHH", *ports, *numbers, 0, 0, 0, 0), at
    )


@pytest.mark.parametrize("asked_at", [1.0, 3.0], ids=["in order", "question with the time at which it is read"])
def test_answer_is_seen(asked_at: float) -> None:
    question = packet(asked_at, "198.18.0.11", TARGET.address, (PORT, 7070), (SEQUENCE, 0))
    answer = packet(2.0, TARGET.address, "198.18.0.11", (7070, PORT), (5, SEQUENCE + 1))
    flow = probes.Flow(TARGET, b"token", 0.0)
    flow.port = PORT
    trace = probes.Trace()
    probes.look({"host": Held([question, answer])}, flow, trace)
    assert sorted(sight.source for sight in trace.sights) == ["198.18.0.11", TARGET.address]
