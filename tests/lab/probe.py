"""Ask the lab's internet host who it sees: over TCP, UDP, ICMP or DNS.

It needs the standard library alone, so that it runs in any namespace of a node as a program.
Exit code 0 if there was an answer, 1 if not, 3 for a wrong command line.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import socket
import struct
import sys
import time
import typing as t

WHO_PORT = 7070
DNS_PORT = 53
TARGETS = {4: "198.51.100.80", 6: "2001:db8:51::80"}
WHOAMI = "whoami.lab"
TYPES = {"A": 1, "AAAA": 28}

# Not in the socket module of every supported Python.
_IP_MTU_DISCOVER, _IP_RECVERR = 10, 11
_IPV6_MTU_DISCOVER, _IPV6_RECVERR = 23, 25
_PMTUDISC_DONT, _PMTUDISC_DO = 0, 2


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer; an ICMP echo does not tell whom the other side saw, so there it is None."""

    protocol: str
    server: str
    client: str | None
    port: int | None
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Answer:
    """A DNS answer: the response code and the addresses."""

    code: int
    addresses: tuple[str, ...]
    milliseconds: float


def _family(target: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in target else socket.AF_INET


def _milliseconds(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)


@contextlib.contextmanager
def _connected(
    target: str,
    port: int,
    kind: socket.SocketKind,
    timeout: float,
    source: str | None,
    protocol: int = 0,
) -> t.Iterator[socket.socket]:
    with socket.socket(_family(target), kind, protocol) as connection:
        connection.settimeout(timeout)
        if source is not None:
            connection.bind((source, 0))
        try:
            connection.connect((target, port))
            yield connection
        except socket.timeout as error:  # TimeoutError itself only since Python 3.10
            raise TimeoutError(f"no answer from {target} in {timeout:g} s") from error


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(4096)
        if not data:
            raise ConnectionError("the connection was closed before a whole line came")
        line += data
    return line


def _who(line: bytes, start: float) -> Reply:
    seen = json.loads(line)
    return Reply(seen["protocol"], seen["server"], seen["client"], seen["port"], _milliseconds(start))


def tcp(target: str, *, port: int = WHO_PORT, timeout: float = 2.0, source: str | None = None) -> Reply:
    """Connect and read who the server sees."""
    start = time.perf_counter()
    with _connected(target, port, socket.SOCK_STREAM, timeout, source) as connection:
        return _who(_read_line(connection), start)


def udp(target: str, *, port: int = WHO_PORT, timeout: float = 2.0, source: str | None = None) -> Reply:
    """Send one datagram and read who the server sees."""
    start = time.perf_counter()
    with _connected(target, port, socket.SOCK_DGRAM, timeout, source) as connection:
        connection.send(b"who\n")
        return _who(connection.recv(4096), start)


def icmp(
    target: str,
    *,
    size: int = 56,
    dont_fragment: bool = False,
    timeout: float = 2.0,
    source: str | None = None,
) -> Reply:
    """Send one echo request with `size` bytes of data and wait for its reply.

    With `dont_fragment` a packet that is too big for the path raises OSError (EMSGSIZE), whether
    the first link or a router further along says so.
    """
    six = _family(target) == socket.AF_INET6
    identifier = int.from_bytes(os.urandom(2), "big")
    body = struct.pack("!HH", identifier, 1) + bytes(size)
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    start = time.perf_counter()
    with _connected(target, 0, socket.SOCK_RAW, timeout, source, protocol) as raw:
        discovery = _PMTUDISC_DO if dont_fragment else _PMTUDISC_DONT
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        raw.setsockopt(level, _IPV6_MTU_DISCOVER if six else _IP_MTU_DISCOVER, discovery)
        raw.setsockopt(level, _IPV6_RECVERR if six else _IP_RECVERR, 1)
        raw.send(_echo(128, 0, body) if six else _echo(8, _checksum(_echo(8, 0, body)), body))
        while True:
            packet = raw.recv(65535)
            message = packet if six else packet[(packet[0] & 0x0F) * 4 :]
            if message[0] == (129 if six else 0) and message[4:8] == body[:4]:
                return Reply("icmp", target, None, None, _milliseconds(start))
            # The socket has a time-out for one read, and other packets may keep it busy.
            if time.perf_counter() - start > timeout:
                raise socket.timeout


def _echo(kind: int, checksum: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, checksum) + body


def _checksum(message: bytes) -> int:
    if len(message) % 2:
        message += b"\0"
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def dns(
    server: str,
    name: str = WHOAMI,
    *,
    kind: str | None = None,
    over_tcp: bool = False,
    timeout: float = 2.0,
    source: str | None = None,
) -> Answer:
    """Ask for the addresses of a name; `kind` is A or AAAA, by default the server's family."""
    wanted = TYPES[kind or ("AAAA" if ":" in server else "A")]
    question = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.rstrip(".").split("."))
    identifier = os.urandom(2)
    query = identifier + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0)
    query += question + struct.pack("!BHH", 0, wanted, 1)
    socket_kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
    start = time.perf_counter()
    with _connected(server, DNS_PORT, socket_kind, timeout, source) as connection:
        if over_tcp:
            connection.sendall(struct.pack("!H", len(query)) + query)
            reply = _read_exactly(connection, int.from_bytes(_read_exactly(connection, 2), "big"))
        else:
            connection.send(query)
            reply = connection.recv(4096)
    if reply[:2] != identifier:
        raise ConnectionError("the answer is for another question")
    return Answer(reply[3] & 0x0F, _addresses(reply, len(query), wanted), _milliseconds(start))


def _read_exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise ConnectionError("the connection was closed before the whole answer came")
        data += more
    return data


def _addresses(reply: bytes, position: int, wanted: int) -> tuple[str, ...]:
    """Read the answers that follow the question; each name is a pointer of two bytes."""
    family = socket.AF_INET if wanted == TYPES["A"] else socket.AF_INET6
    found = []
    for _answer in range(struct.unpack("!H", reply[6:8])[0]):
        kind, _class, _ttl, length = struct.unpack("!HHIH", reply[position + 2 : position + 12])
        data = reply[position + 12 : position + 12 + length]
        position += 12 + length
        if kind == wanted:
            found.append(socket.inet_ntop(family, data))
    return tuple(found)


def probe(protocol: str, target: str, *, timeout: float = 2.0, **icmp_options: t.Any) -> Reply:
    """Ask over one protocol by its name; DNS gives what `whoami.lab` says as the client."""
    if protocol == "tcp":
        return tcp(target, timeout=timeout)
    if protocol == "udp":
        return udp(target, timeout=timeout)
    if protocol == "icmp":
        return icmp(target, timeout=timeout, **icmp_options)
    answer = dns(target, timeout=timeout)
    client = answer.addresses[0] if answer.addresses else None
    return Reply("dns", target, client, None, answer.milliseconds)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        self.print_usage(sys.stderr)
        self.exit(3, f"{self.prog}: {message}\n")


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run one probe and print its answer."""
    parser = _Parser(description="Ask the lab's internet host who it sees.")
    parser.add_argument("--target", help="an IPv4 or IPv6 address")
    parser.add_argument("--family", type=int, choices=(4, 6), help="of the default target")
    parser.add_argument("--protocol", choices=("tcp", "udp", "icmp", "dns"), default="tcp")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds")
    parser.add_argument("--size", type=int, default=56, help="bytes of data in an ICMP echo")
    parser.add_argument("--dont-fragment", action="store_true", help="for an ICMP echo")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    target = options.target or TARGETS[options.family or 4]
    if options.family and (options.family == 6) != (":" in target):
        parser.error(f"{target} is not an IPv{options.family} address")
    icmp_options: dict[str, t.Any] = {}
    if options.protocol == "icmp":
        icmp_options = {"size": options.size, "dont_fragment": options.dont_fragment}
    try:
        reply = probe(options.protocol, target, timeout=options.timeout, **icmp_options)
    except OSError as error:
        problem = {"protocol": options.protocol, "server": target, "error": str(error)}
        print(json.dumps(problem) if options.json else f"{options.protocol} {target}: {error}")
        return 1
    if options.json:
        print(json.dumps(dataclasses.asdict(reply)))
    else:
        seen = f"seen as {reply.client}, " if reply.client else ""
        print(f"{reply.protocol} {target}: {seen}{reply.milliseconds:g} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
