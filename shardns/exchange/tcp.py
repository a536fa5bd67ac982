"""One TCP connection to an upstream: the socket around a TcpMux. Knows when it is up and when it ended, not why it
was made.

Written on non-blocking sockets and the loop's readiness callbacks rather than asyncio's transports: a turn of the
loop costs one send and one receive per connection, however many queries it carries.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from time import monotonic
from typing import Protocol

from shardns.exchange.ask import Ask
from shardns.exchange.config import host_port
from shardns.exchange.ids import Ids
from shardns.exchange.outcome import read_text
from shardns.exchange.tcp_mux import TcpMux
from shardns.exchange.turn import Turn

RECEIVE_SIZE = 65536
"""Bytes taken per system call. More costs a fresh mapping per call: the allocator's limit is 128 KiB."""
_MAX_CHUNKS = 16
"""Taken in a row while there is more: what has come must be read before the timer looks for what has not."""
USER_TIMEOUT_MS = 1500
"""Sent data that stays unacknowledged this long ends the connection (RFC 5482)."""
STUFFED_BYTES = 65536
"""Unsent bytes from which on a connection takes no more queries: the peer does not read."""
_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
MALFORMED_FRAME = -1  # in place of an errno


class Owner(Protocol):
    """Who made a connection."""

    turn: Turn

    def flush(self, link: TcpLink, now: float) -> None:
        """Write what the mux has put out."""

    def link_opened(self, link: TcpLink, now: float) -> None:
        """The connection is up."""

    def link_failed(self, link: TcpLink, code: int, now: float) -> None:
        """The connection could not be made; code is an errno. The link is closed."""

    def link_answered(self, link: TcpLink, found: list[tuple[Ask, bytes, float]], now: float) -> None:
        """Answers came: ask, message, when that ask was sent on this link. May be empty (only unknown ids)."""

    def link_ended(self, link: TcpLink, code: int, now: float) -> None:
        """The connection that was up ended: 0 is a FIN, else an errno or MALFORMED_FRAME. The link is closed."""


class TcpLink:
    """A connection; made by dialling at once. `now` is always CLOCK_MONOTONIC in seconds."""

    __slots__ = (
        "_loop",
        "_sock",
        "_unsent",
        "born",
        "heard_at",
        "label",
        "local",
        "mux",
        "opened",
        "owner",
        "retire_at",
        "retiring",
        "suspect_since",
        "taken",
        "used",
    )

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        family: int,
        address: tuple[object, ...],
        label: str,
        ids: Ids,
        now: float,
    ) -> None:
        """Start to dial; the owner hears of the end from the loop, never from here."""
        self.owner = owner
        self._loop = loop
        self._unsent = b""
        self.label = label
        self.local = ""
        self.mux = TcpMux(ids)
        self.born = now
        self.opened = 0.0  # 0: not up (yet)
        self.heard_at = now  # when anything last came from the peer, the handshake included
        self.used = now  # when queries were last written
        self.retire_at = 0.0  # the owner's
        self.retiring = False  # the owner's: takes no new query, is closed when the last answer is in
        self.taken = 0  # the owner's: queries written to it
        self.suspect_since = 0.0  # the owner's: 0, or since when it seems dead
        self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        for level, option, value in _OPTIONS:
            self._sock.setsockopt(level, option, value)
        code = self._sock.connect_ex(address)
        if code in (0, errno.EINPROGRESS):
            loop.add_writer(self._sock.fileno(), self._on_connected)
        else:
            loop.call_soon(self._on_refused, code)

    @property
    def closed(self) -> bool:
        """Whether close() was called or the connection ended."""
        return self._sock.fileno() < 0

    @property
    def stuffed(self) -> bool:
        """Whether too much waits to be written."""
        return len(self._unsent) > STUFFED_BYTES

    def timeout_text(self) -> str:
        """The error for an answer that did not come."""
        return read_text("tcp", self.local, self.label, 0)

    def flush(self, now: float) -> int:
        """Write all frames of the mux in one system call; how many there were, also on one that has ended."""
        out = self.mux.out
        count = len(out)
        if not count:
            return 0
        data = out[0] if count == 1 else b"".join(out)
        out.clear()
        if self.closed:
            return count
        self.used = now
        if self._unsent:
            self._unsent += data
            return count
        try:
            written = self._sock.send(data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._loop.call_soon(self._on_end, error.errno or errno.EIO)
            return count
        if written < len(data):
            self._unsent = data[written:]
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        return count

    def close(self) -> None:
        """Close the socket; the owner is not told. Closing again is no error."""
        fd = self._sock.fileno()
        if fd >= 0:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
            self._sock.close()

    def _on_connected(self) -> None:
        """The dial ended, well or not."""
        fd = self._sock.fileno()
        self._loop.remove_writer(fd)
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._on_refused(code)
            return
        # Not before: during the handshake it would limit the dial.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        self.local = host_port(*self._sock.getsockname()[:2])
        self._loop.add_reader(fd, self._on_readable)
        self.opened = self.used = self.heard_at = monotonic()
        self.owner.link_opened(self, self.opened)

    def _on_refused(self, code: int) -> None:
        if not self.closed:
            self.close()
            self.owner.link_failed(self, code, monotonic())

    def _on_readable(self) -> None:
        turn = self.owner.turn
        turn.begin()
        try:
            self._read()
        finally:
            turn.end()

    def _read(self) -> None:
        mux = self.mux
        for _ in range(_MAX_CHUNKS):
            try:
                chunk = self._sock.recv(RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._on_end(error.errno or errno.EIO)
                return
            if not chunk:
                self._on_end(0)
                return
            found = mux.feed(chunk)
            self.heard_at = now = monotonic()
            self.owner.link_answered(self, found, now)
            if mux.broken:
                self._on_end(MALFORMED_FRAME)
            if len(chunk) < RECEIVE_SIZE or self.closed:
                return

    def _on_writable(self) -> None:
        try:
            written = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_end(error.errno or errno.EIO)
            return
        self._unsent = self._unsent[written:]
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())

    def _on_end(self, code: int) -> None:
        if not self.closed:
            self.close()
            self.owner.link_ended(self, code, monotonic())
