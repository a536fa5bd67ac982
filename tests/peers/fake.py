"""A nameserver that misbehaves on request: slow, silent, closing connections; it counts what it is asked.

It runs on a thread of the test's own process, so that a test can read its counts and change its ways at any moment.
Every name under every domain has one IPv4 address, which follows from the name: an answer given to the wrong client,
or for the wrong name, is seen at once (address_of).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ipaddress
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

TTL_S = 300
_LENGTH = struct.Struct("!H")
_SOA = b"\x00\x00\x06\x00\x01" + struct.pack("!IH", 30, 22) + b"\x00\x00" + struct.pack("!5I", 1, 2, 3, 4, 30)


def address_of(name: bytes) -> bytes:
    """The address in 10.0.0.0/8 that belongs to a name in wire format, whatever its case."""
    return b"\x0a" + zlib.crc32(name.lower()).to_bytes(4)[1:]


def address_text(name: str) -> str:
    """The same for a name as text."""
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"
    return str(ipaddress.ip_address(address_of(wire)))


def _name_end(query: bytes) -> int:
    """Where the question's name, which is not compressed, ends."""
    at = 12
    while at < len(query) and query[at]:
        at += 1 + query[at]
    return at + 1


def respond(query: bytes, ttl_s: int = TTL_S) -> bytes | None:
    """A well-behaved answer: A as address_of, names that begin with "nx" NXDOMAIN, other types NODATA.

    A name that begins with "ttlN-" has a TTL of N seconds, one with "servfail" is answered so. No OPT is sent back.
    None for what is no query with one question.
    """
    if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
        return None
    end = _name_end(query)
    name, question = query[12:end].lower(), query[12 : end + 4]
    flags, rcode = 0x8400 | (query[2] & 1) << 8, 0
    answer = authority = b""
    label = name[1 : 1 + name[0]]
    if label.startswith(b"servfail"):
        rcode = 2
    elif label.startswith(b"nx"):
        rcode, authority = 3, _SOA
    elif question[-4:] == b"\0\1\0\1":
        if label.startswith(b"ttl"):
            ttl_s = int(label[3:].split(b"-")[0])
        answer = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", ttl_s, 4) + address_of(name)
    else:
        authority = _SOA
    counts = struct.pack("!HHHHH", flags | rcode, 1, bool(answer), bool(authority), 0)
    return query[:2] + counts + question + answer + authority


@dataclass
class FakeNameserver:
    """What the fake does and what it has seen. The test may change the first group while it runs.

    respond        the answer to a query; None for silence
    delay_s        seconds between a query and its answer
    close_after_s  age in seconds at which a TCP connection is closed; 0 for never
    muted          connections opened before this moment are read and never answered: set by mute()

    names          how often each name was asked for, in lower case and wire format
    udp, tcp       queries by transport
    connections    TCP connections ever accepted; open_now those that are open
    errors         what respond raised; the first is raised again at the end
    """

    host: str
    port: int
    respond: Callable[[bytes], bytes | None] = respond
    delay_s: float = 0.0
    close_after_s: float = 0.0
    names: collections.Counter[bytes] = field(default_factory=collections.Counter)
    udp: int = 0
    tcp: int = 0
    connections: int = 0
    open_now: set[_Stream] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def queries(self) -> int:
        """Queries by either transport."""
        return self.udp + self.tcp

    def mute(self) -> int:
        """How many connections were open: from now on each is read and never answered, as if its packets were lost."""
        streams = list(self.open_now)
        for stream in streams:
            stream.muted = True
        return len(streams)

    def drop_connections(self) -> None:
        """Nothing; every open connection is closed, whatever waits on it."""
        for stream in list(self.open_now):
            self._loop.call_soon_threadsafe(stream.abort)

    def take(self, query: bytes, send: Callable[[bytes], None], *, over_tcp: bool) -> None:
        """Nothing; counts a query and sends its answer, now or after the delay."""
        if over_tcp:
            self.tcp += 1
        else:
            self.udp += 1
        if len(query) > 12:
            self.names[query[12 : _name_end(query)].lower()] += 1
        try:
            answer = self.respond(query)
        except Exception as error:
            self.errors.append(error)
            raise
        if answer is None:
            return
        if self.delay_s:
            self._loop.call_later(self.delay_s, send, answer)
        else:
            send(answer)


class _Datagrams(asyncio.DatagramProtocol):
    """The UDP side."""

    def __init__(self, server: FakeNameserver) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # not its subclass before Python 3.12

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transport = self._transport
        assert transport is not None
        self._server.take(data, lambda answer: transport.sendto(answer, addr), over_tcp=False)


class _Stream(asyncio.Protocol):
    """One TCP connection; answers in the order their delays run out."""

    def __init__(self, server: FakeNameserver) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._left = b""
        self.muted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections += 1
        self._server.open_now.add(self)
        if self._server.close_after_s:
            asyncio.get_running_loop().call_later(self._server.close_after_s, transport.abort)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.open_now.discard(self)

    def abort(self) -> None:
        """Nothing; the connection is closed; what was not sent yet is not."""
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._left += data
        while len(self._left) >= 2 and len(self._left) >= 2 + _LENGTH.unpack_from(self._left)[0]:
            length = _LENGTH.unpack_from(self._left)[0]
            query, self._left = self._left[2 : 2 + length], self._left[2 + length :]
            self._server.take(query, self._send, over_tcp=True)

    def _send(self, answer: bytes) -> None:
        """Nothing; one frame, unless the connection is muted or gone."""
        if self._transport and not self.muted and not self._transport.is_closing():
            self._transport.write(_LENGTH.pack(len(answer)) + answer)


@contextlib.contextmanager
def nameserver(host: str = "127.0.0.1", port: int = 0, **ways: object) -> Iterator[FakeNameserver]:
    """A fake that listens by UDP and TCP; ways are fields of FakeNameserver."""
    with contextlib.ExitStack() as stack:
        udp, tcp = _bound(host, port)
        stack.callback(udp.close)
        stack.callback(tcp.close)
        server = FakeNameserver(host, udp.getsockname()[1], **ways)  # type: ignore[arg-type]  # checked by the class
        loop = server._loop
        serves = threading.Event()  # a stop before that would be taken for the end of the start
        thread = threading.Thread(target=_run, args=(server, loop, udp, tcp, serves), daemon=True)
        thread.start()
        serves.wait(5)
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
        if server.errors:
            raise server.errors[0]


def _bound(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on the same port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        tcp, udp = socket.socket(family, socket.SOCK_STREAM), socket.socket(family, socket.SOCK_DGRAM)
        # As Go and unbound do. Inherited by what it accepts; asyncio leaves sockets alone that do not say IPPROTO_TCP.
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        tcp.bind((host, port))
        try:
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            if port:
                raise
            continue
        tcp.listen(512)
        return udp, tcp


def _run(
    server: FakeNameserver,
    loop: asyncio.AbstractEventLoop,
    udp: socket.socket,
    tcp: socket.socket,
    serves: threading.Event,
) -> None:
    """Nothing; serves until the loop is stopped."""
    asyncio.set_event_loop(loop)
    datagrams, _ = loop.run_until_complete(loop.create_datagram_endpoint(lambda: _Datagrams(server), sock=udp))
    listener = loop.run_until_complete(loop.create_server(lambda: _Stream(server), sock=tcp))
    loop.call_soon(serves.set)
    loop.run_forever()
    listener.close()
    datagrams.close()
    for _ in ("its task", "its transport", "its protocol"):  # what has been accepted in the last turn gets them
        loop.run_until_complete(asyncio.sleep(0))
    for stream in list(server.open_now):
        stream.abort()
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@contextlib.contextmanager
def swallowing_syn(host: str = "127.0.0.1") -> Iterator[int]:
    """A port whose connections are never accepted nor refused: a dial hangs. Its UDP side is as silent.

    A listener with a backlog of nothing, filled: the kernel drops every further SYN (tcp(7), tcp_abort_on_overflow).
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((host, port))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield port
