"""The service of the lab's internet host: it answers TCP, UDP and DNS, and records who asked.

It runs inside the internet namespace and needs the standard library alone. It says `ready` on
its standard output once every socket listens; after that each line on its standard input asks
for everyone seen so far, as one line of JSON. It ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import collections
import functools
import ipaddress
import json
import os
import resource
import selectors
import signal
import socket
import struct
import typing as t

WHO_PORT = 7070
DNS_PORT = 53
WHOAMI = "whoami.lab"
INTERNET = "internet.lab"

TYPE_A = 1
TYPE_AAAA = 28
NOERROR = 0
NXDOMAIN = 3

_ECHO_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REMEMBERED = 100_000
_BACKLOG = 1024
_CONTROL = 0  # standard input


class Seen(t.NamedTuple):
    """One request as it arrived; for an ICMP echo the port is its identifier."""

    protocol: str
    client: str
    port: int
    server: str


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Service:
    """All sockets of the internet host, served by one selector."""

    def __init__(self, public: t.Sequence[str], listen: t.Sequence[str]) -> None:
        self._public = public
        self._seen: collections.deque[Seen] = collections.deque(maxlen=_REMEMBERED)
        self._selector = selectors.DefaultSelector()
        for address in listen:
            self._open(address)
        for family in {_family(address) for address in listen}:
            self._open_echo(family)

    def run(self) -> None:
        """Serve until standard input ends."""
        self._selector.register(_CONTROL, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        while True:
            ready = self._handle(None)
            if any(key.fileobj == _CONTROL for key in ready) and not self._answer():
                return

    def _handle(self, timeout: float | None) -> list[selectors.SelectorKey]:
        """Wait for sockets and serve each that is ready."""
        ready = [key for key, _events in self._selector.select(timeout)]
        for key in ready:
            if key.fileobj != _CONTROL:
                key.data()
        return ready

    def _answer(self) -> bool:
        """Answer the control's questions; False when there will be no more."""
        questions = os.read(_CONTROL, 4096)
        # What arrived before the question belongs into its answer; a flood shall not put it off for ever.
        for _turn in range(_BACKLOG):
            if all(key.fileobj == _CONTROL for key in self._handle(0)):
                break
        answer = json.dumps(list(self._seen)).encode() + b"\n"
        _write_all(1, answer * questions.count(b"\n"))
        return bool(questions)

    def _watch(self, watched: socket.socket, handler: t.Callable[[], None]) -> None:
        watched.setblocking(False)
        self._selector.register(watched, selectors.EVENT_READ, handler)

    def _open(self, address: str) -> None:
        # One socket an address, so that a reply leaves with the address that was asked.
        for port in (WHO_PORT, DNS_PORT):
            datagrams = socket.socket(_family(address), socket.SOCK_DGRAM)
            datagrams.bind((address, port))
            answer = self._who if port == WHO_PORT else self._dns
            self._watch(datagrams, functools.partial(self._on_datagram, datagrams, answer))
            listener = socket.socket(_family(address), socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(_BACKLOG)
            serve = self._on_who_stream if port == WHO_PORT else self._on_dns_stream
            self._watch(listener, functools.partial(self._on_accept, listener, serve))

    def _open_echo(self, family: socket.AddressFamily) -> None:
        protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
        raw = socket.socket(family, socket.SOCK_RAW, protocol)
        if family == socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._watch(raw, functools.partial(self._on_echo, raw))

    def _on_echo(self, raw: socket.socket) -> None:
        packet, ancillary, _flags, sender = raw.recvmsg(65535, 256)
        if raw.family == socket.AF_INET:
            server = socket.inet_ntop(socket.AF_INET, packet[16:20])
            packet = packet[(packet[0] & 0x0F) * 4 :]
        else:
            server = socket.inet_ntop(socket.AF_INET6, ancillary[0][2][:16])
        # Requests alone: the kernel answers them, and neighbour discovery arrives here as well.
        if len(packet) >= 8 and packet[0] == _ECHO_REQUEST[socket.AddressFamily(raw.family)]:
            identifier = struct.unpack("!H", packet[4:6])[0]
            self._seen.append(Seen("icmp", sender[0], identifier, server))

    def _on_datagram(self, datagrams: socket.socket, answer: t.Callable[[Seen, bytes], bytes]) -> None:
        try:
            data, sender = datagrams.recvfrom(65535)
            seen = Seen("udp", sender[0], sender[1], datagrams.getsockname()[0])
            reply = answer(seen, data)
            if reply:
                datagrams.sendto(reply, sender)
        except OSError:
            pass  # no route to a private source: it was seen, and that is what matters

    def _on_accept(
        self,
        listener: socket.socket,
        serve: t.Callable[[socket.socket, Seen, bytearray], None],
    ) -> None:
        try:
            stream, client = listener.accept()
        except OSError:
            return  # the client gave up meanwhile
        seen = Seen("tcp", client[0], client[1], stream.getsockname()[0])
        serve_this = functools.partial(serve, stream, seen, bytearray())
        self._watch(stream, functools.partial(self._guard, stream, serve_this))
        if serve == self._on_who_stream:
            self._guard(stream, lambda: stream.sendall(self._who(seen, b"")))

    def _guard(self, stream: socket.socket, action: t.Callable[[], None]) -> None:
        try:
            action()
        except (OSError, EOFError):
            self._selector.unregister(stream)
            stream.close()

    def _on_who_stream(self, stream: socket.socket, seen: Seen, _pending: bytearray) -> None:
        data = stream.recv(65535)
        if not data:
            raise EOFError
        stream.sendall(_identity(seen) * data.count(b"\n"))

    def _on_dns_stream(self, stream: socket.socket, seen: Seen, pending: bytearray) -> None:
        data = stream.recv(65535)
        if not data:
            raise EOFError
        pending += data
        while len(pending) >= 2 and len(pending) >= 2 + int.from_bytes(pending[:2], "big"):
            end = 2 + int.from_bytes(pending[:2], "big")
            reply = self._dns(seen, bytes(pending[2:end]))
            del pending[:end]
            stream.sendall(struct.pack("!H", len(reply)) + reply)

    def _who(self, seen: Seen, _request: bytes) -> bytes:
        self._seen.append(seen)
        return _identity(seen)

    def _dns(self, seen: Seen, query: bytes) -> bytes:
        self._seen.append(seen._replace(protocol="dns"))
        return dns_reply(query, seen.client, self._public)


def _identity(seen: Seen) -> bytes:
    identity = {
        "client": seen.client,
        "port": seen.port,
        "server": seen.server,
        "protocol": seen.protocol,
    }
    return json.dumps(identity).encode() + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def dns_reply(query: bytes, client: str, public: t.Sequence[str]) -> bytes:
    """Answer one DNS message; nothing for what is no question."""
    try:
        identifier, flags, questions = struct.unpack("!HHH", query[:6])
        labels, position = [], 12
        while query[position]:
            end = position + 1 + query[position]
            labels.append(query[position + 1 : end].decode("ascii").lower())
            position = end
        wanted = struct.unpack("!H", query[position + 1 : position + 3])[0]
    except (struct.error, IndexError, UnicodeDecodeError):
        return b""
    if flags & 0x8000 or questions != 1:
        return b""
    names = {WHOAMI: [client], INTERNET: public}
    name = ".".join(labels)
    addresses = [ipaddress.ip_address(address) for address in names.get(name, [])]
    version = {TYPE_A: 4, TYPE_AAAA: 6}.get(wanted)
    answers = [address.packed for address in addresses if address.version == version]
    code = NOERROR if name in names else NXDOMAIN
    # A response, authoritative, with the "recursion desired" bit of the query.
    header = struct.pack("!HHHHHH", identifier, 0x8400 | (flags & 0x0100) | code, 1, len(answers), 0, 0)
    reply = header + query[12 : position + 5]
    for data in answers:
        # The name is a pointer to the question; class IN, not to be cached.
        reply += struct.pack("!HHHIH", 0xC00C, wanted, 1, 0, len(data)) + data
    return reply


def main() -> None:
    """Serve on the addresses given on the command line."""
    parser = argparse.ArgumentParser(description="Answer as the lab's internet host.")
    parser.add_argument("public", nargs="+", help="an address that internet.lab has")
    parser.add_argument("--also", action="append", default=[], help="another address to serve")
    options = parser.parse_args()
    # An interrupt from the terminal is for the creator, with whose pipe this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Long-lived connections are many.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Service(options.public, options.public + options.also).run()


if __name__ == "__main__":
    main()
