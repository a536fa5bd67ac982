"""One UDP socket to an upstream: a fresh random port, closed when its last answer is in.

Sockets live as long as one query. To add each to the loop and take it out again would cost more than all its system
calls, so they share an epoll set, and only that is in the loop.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from time import monotonic
from typing import Protocol

from shardns.exchange.ask import Ask
from shardns.exchange.config import host_port
from shardns.exchange.ids import Ids
from shardns.exchange.outcome import read_text
from shardns.exchange.reply import Verdict
from shardns.exchange.turn import Turn
from shardns.exchange.udp import UdpMatch

_RECEIVE_SIZE = 65535
_MAX_READY = 256  # sockets taken per turn of the loop
_MAX_DATAGRAMS = 16  # taken from one of them: somebody who floods the port must not hold the loop


class Owner(Protocol):
    """Who made a socket."""

    def datagram_answered(self, link: UdpLink, ask: Ask, wire: bytes, verdict: Verdict, now: float) -> None:
        """An answer to this ask came."""

    def datagram_failed(self, link: UdpLink, asks: list[Ask], code: int, now: float) -> None:
        """The kernel reports an error (ICMP: port unreachable and the like) for these asks. The link is closed."""


class UdpPoller:
    """The epoll set of a pool's UDP sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn) -> None:
        """Empty; it takes a descriptor with the first socket."""
        self._loop = loop
        self._turn = turn
        self._epoll: select.epoll | None = None
        self._links: dict[int, UdpLink] = {}

    def add(self, fd: int, link: UdpLink) -> None:
        """Call link.on_readable when there is something to read."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        self._epoll.register(fd, select.EPOLLIN)
        self._links[fd] = link

    def remove(self, fd: int) -> None:
        """Forget a descriptor that is about to be closed; the kernel takes it out of the set then."""
        self._links.pop(fd, None)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _on_ready(self) -> None:
        if self._epoll is None:
            return
        self._turn.begin()
        try:
            for fd, _ in self._epoll.poll(0, _MAX_READY):
                link = self._links.get(fd)  # None: closed by what an earlier one of these set off
                if link is not None:
                    link.on_readable()
        finally:
            self._turn.end()


class UdpLink:
    """A connected UDP socket. The kernel draws its port at random (RFC 6056; Linux udp_lib_get_port)."""

    __slots__ = ("_loop", "_owner", "_poller", "_sock", "born", "label", "local", "match", "sent")

    def __init__(
        self,
        owner: Owner,
        poller: UdpPoller,
        loop: asyncio.AbstractEventLoop,
        family: int,
        address: tuple[object, ...],
        label: str,
        ids: Ids,
        now: float,
    ) -> None:
        """Open and connect; raises OSError where there is no route or no descriptor left."""
        self._owner = owner
        self._poller = poller
        self._loop = loop
        self.label = label
        self.match = UdpMatch(ids)
        self.born = now
        self.local = ""
        self.sent = 0
        self._sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._sock.connect(address)
            poller.add(self._sock.fileno(), self)
        except OSError:
            self._sock.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether close() was called or an error closed it."""
        return self._sock.fileno() < 0

    def timeout_text(self) -> str:
        """The error for an answer that did not come."""
        return read_text("udp", self._local(), self.label, 0)

    def send(self, ask: Ask) -> None:
        """Send the ask's query. What cannot be sent now is as good as lost on the way; errors come by the loop."""
        self.sent += 1
        try:
            self._sock.send(self.match.send(ask))
        except BlockingIOError:
            pass
        except OSError as error:
            self._loop.call_soon(self._on_error, error.errno or errno.EIO)

    def close(self) -> None:
        """Close the socket; the owner is not told. Closing again is no error."""
        fd = self._sock.fileno()
        if fd >= 0:
            self._poller.remove(fd)
            self._sock.close()

    def _local(self) -> str:
        """Our address as Go prints it; asked for before the socket is closed, or never known."""
        if not self.local and not self.closed:
            self.local = host_port(*self._sock.getsockname()[:2])
        return self.local

    def on_readable(self) -> None:
        """Take what came; the poller's to call."""
        now = monotonic()
        for _ in range(_MAX_DATAGRAMS):
            try:
                datagram = self._sock.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._on_error(error.errno or errno.EIO)
                return
            matched = self.match.receive(datagram)
            if matched is not None:
                self._owner.datagram_answered(self, matched[0], datagram, matched[1], now)
                if self.closed:
                    return

    def _on_error(self, code: int) -> None:
        if not self.closed:
            self._local()
            self.close()
            asks = list(self.match.waiting.values())
            self.match.waiting.clear()
            self._owner.datagram_failed(self, asks, code, monotonic())
