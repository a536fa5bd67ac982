"""Many DNS queries at once, each from a port of its own, and HTTP requests: all bounded by one moment in time."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shardns.dns import codes, message, names
from supervisor.doctor.facts import Page, Protocol
from supervisor.sockets import WILDCARDS

RESEND_S: Final = 0.7  # a datagram may be lost; the same query goes once more
_LENGTH: Final = struct.Struct("!H")
_CHUNK: Final = 65536
_BODY_MAX: Final = 4096
_VERSION_AT: Final = -5  # of an OPT without options at the end of a message: version, flags, length (RFC 6891 s.6.1.3)
TIMED_OUT: Final = "no answer in time"


@dataclass(frozen=True, slots=True)
class Query:
    """A message for one nameserver. source: the port it goes out from; 0: any."""

    host: str
    port: int
    protocol: Protocol
    wire: bytes
    source: int = 0


@dataclass(slots=True)
class Reply:
    """What came of it: wire, or an error."""

    wire: bytes = b""
    took_s: float = 0.0
    error: str = TIMED_OUT

    @property
    def rcode(self) -> str:
        """NOERROR; empty without an answer."""
        return codes.rcode_text(self.wire[3] & message.RCODE_MASK) if self.wire else ""


def query(name: str, qtype: codes.Type) -> bytes:
    """A query for a name."""
    return message.query(names.to_wire(name), qtype, id=random.getrandbits(16), udp_size=message.OUR_UDP_SIZE)


def probe() -> bytes:
    """A query that a worker answers by itself, whatever its cache and its nameservers: of EDNS version 1 (BADVERS)."""
    wire = bytearray(query(".", codes.Type.NS))
    wire[_VERSION_AT] = 1
    return bytes(wire)


def reachable(host: str) -> str:
    """An address of this host by which a socket bound to host is reached."""
    return host if host not in WILDCARDS else "127.0.0.1"


def ask(queries: Sequence[Query], until: float) -> list[Reply]:
    """The reply to each, in order; at `until` (time.monotonic()) those that are open have timed out."""
    replies = [Reply() for _ in queries]
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        exchanges: list[_Exchange] = []
        for asked, reply in zip(queries, replies, strict=True):
            sock = stack.enter_context(_socket(asked))
            exchange = _Exchange(asked, reply, sock, time.monotonic())
            try:
                exchange.begin()
            except OSError as error:
                reply.error = error.strerror or str(error)
                continue
            selector.register(sock, exchange.wants, exchange)
            exchanges.append(exchange)
        _run(selector, exchanges, until)
    return replies


def _run(selector: selectors.BaseSelector, exchanges: Sequence[_Exchange], until: float) -> None:
    """Carry on until every exchange is done, or the time is up."""
    again_at = time.monotonic() + RESEND_S
    while selector.get_map():
        now = time.monotonic()
        if now >= until:
            return
        if now >= again_at:
            again_at = until
            for exchange in exchanges:
                exchange.resend()
        for key, _ in selector.select(max(0.0, min(until, again_at) - now)):
            found: _Exchange = key.data
            if found.turn():
                selector.unregister(found.sock)
            elif found.wants != key.events:
                selector.modify(found.sock, found.wants, found)


@dataclass(slots=True)
class _Exchange:
    """One query on its way."""

    asked: Query
    reply: Reply
    sock: socket.socket
    began: float
    wants: int = selectors.EVENT_READ
    is_done: bool = False
    _taken: bytearray = field(default_factory=bytearray)

    def begin(self) -> None:
        """Send it, or begin to connect. Raises OSError."""
        with contextlib.suppress(BlockingIOError):
            self.sock.connect((self.asked.host, self.asked.port))
        if self.asked.protocol == "udp":
            self.sock.send(self.asked.wire)
        else:
            self.wants = selectors.EVENT_WRITE

    def resend(self) -> None:
        """A datagram once more."""
        if self.asked.protocol == "udp" and not self.is_done:
            with contextlib.suppress(OSError):
                self.sock.send(self.asked.wire)

    def turn(self) -> bool:
        """Go on; whether it is done."""
        try:
            self.is_done = self._turn()
        except BlockingIOError:
            return False
        except OSError as error:
            self.reply.error = error.strerror or str(error)
            self.is_done = True
        return self.is_done

    def _turn(self) -> bool:
        """As turn. Raises OSError."""
        if self.wants == selectors.EVENT_WRITE:
            failure = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                raise OSError(failure, os.strerror(failure))
            self.sock.sendall(_LENGTH.pack(len(self.asked.wire)) + self.asked.wire)
            self.wants = selectors.EVENT_READ
            return False
        octets = self.sock.recv(_CHUNK)
        if self.asked.protocol == "udp":
            return self._take(octets)
        if not octets:
            raise ConnectionError(0, "the connection was closed without an answer")
        self._taken += octets
        complete = len(self._taken) >= _LENGTH.size
        complete = complete and len(self._taken) >= _LENGTH.size + _LENGTH.unpack_from(self._taken)[0]
        return complete and self._take(bytes(self._taken[_LENGTH.size :]))

    def _take(self, wire: bytes) -> bool:
        """Whether it is the answer."""
        if len(wire) < message.HEADER_SIZE or wire[:2] != self.asked.wire[:2] or not wire[2] & 0x80:
            return False
        self.reply.wire, self.reply.error = wire, ""
        self.reply.took_s = time.monotonic() - self.began
        return True


def _socket(asked: Query) -> socket.socket:
    """Non-blocking, and bound if the source port matters."""
    family = socket.AF_INET6 if ":" in asked.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if asked.protocol == "udp" else socket.SOCK_STREAM
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    if asked.source:
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", asked.source))
    return sock


def get(address: str, path: str, timeout_s: float) -> Page:
    """The answer to a GET at "host:port", ":port" or "[v6]:port"."""
    host, _, port = address.rpartition(":")
    host = reachable(host.removeprefix("[").removesuffix("]"))
    connection = http.client.HTTPConnection(host, int(port), timeout=max(0.05, timeout_s))
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Page(response.status, response.read(_BODY_MAX).decode(errors="replace").strip())
    except TimeoutError:
        return Page(0, TIMED_OUT)
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Page(0, reason or type(error).__name__)
    finally:
        connection.close()
