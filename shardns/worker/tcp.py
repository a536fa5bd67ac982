"""The TCP side of a worker: accepts clients on the inherited sockets, watches their number, their times, their memory.

Times are CoreDNS 1.13.2's (core/dnsserver/server.go, the library's ServeTCP): 3 s for the first frame, 10 s between
queries, 5 s to take a reply. DIFFERS: a frame that has begun must be whole within 3 s whenever it begins, not only the
first. The limits have no counterpart there.

    connections   by use, the longest unused first: what is idle too long or has to make room is at the front
    owing         must send the rest of a frame, by since when
    blocked       must take its replies, by since when

Times are looked at once per tick (1 s), which costs an idle worker nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from shardns import log
from shardns.worker.connection import Asking, Connection
from shardns.worker.frames import Address, Answering, sockaddr

_SECOND: Final = 1_000_000_000
_ACCEPTS: Final = 64  # per turn: a flood of connections must not starve those that are open
_DRAIN_LOOK_S: Final = 0.02  # while draining, between looks for connections that are quiet
_PAUSE_S: Final = 0.5  # without accepting, when the system has no descriptor or memory left
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = log.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """What TCP clients of one worker may use."""

    connections: int = 1000  # then the longest idle one is closed for the next
    held_octets: int = (
        16 << 20
    )  # read and not yet answered, or answered and not taken; then the one that holds most goes
    idle_s: float = 10.0  # without a query, a reply or a miss in flight
    read_s: float = 3.0  # from a frame's beginning (or the connection's) to its end
    write_s: float = 5.0  # to take what it was sent
    drain_s: float = 5.0  # at the end, for misses in flight and clients that keep asking
    quiet_s: float = 0.1  # at the end, without a query or reply, before a connection is closed


class TcpCounters(Protocol):
    """The worker's counters that are TCP's: struct shd_process_counters."""

    tcp_connections: int
    tcp_open: int
    tcp_evicted: int


class TcpServer:
    """All TCP clients of this worker. Everything runs in the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answering: Answering,
        line: Asking,
        counters: TcpCounters,
        *,
        clock_ns: Callable[[], int],
        limits: Limits = Limits(),
    ) -> None:
        """Serve nobody yet. clock_ns: CLOCK_MONOTONIC."""
        self.loop = loop
        self.answering = answering
        self.line = line
        self.clock_ns = clock_ns
        self.limits = limits
        self._counters = counters
        self._listening: dict[int, socket.socket] = {}
        self._connections: OrderedDict[Connection, None] = OrderedDict()
        self._owing: dict[Connection, int] = {}
        self._blocked: dict[Connection, int] = {}
        self._held = 0
        self._to_flush: list[Connection] = []
        self._drained: Callable[[], None] | None = None
        self._drain_until_ns = 0
        counters.tcp_open = 0  # a predecessor in this slot may have been killed

    @property
    def open(self) -> int:
        """Connections now."""
        return len(self._connections)

    @property
    def held_octets(self) -> int:
        """Octets kept for all connections."""
        return self._held

    # ---- life

    def listen(self, sockets: Mapping[int, socket.socket]) -> None:
        """Accept from these: listener index -> listening socket, which must not block. They stay the caller's."""
        for listener, listening in sockets.items():
            # Accepted sockets inherit it: small replies must not wait for the client's acknowledgement.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._listening[listener] = listening
            self.loop.add_reader(listening.fileno(), self._accept, listener, listening)

    def drain(self, done: Callable[[], None]) -> None:
        """Accept nothing more; close each connection once it is quiet; then (or after drain_s) call done.

        A query that is on its way while its connection is closed is lost to a client that does not ask again, such as
        one that was accepted a moment ago. So a connection is closed only after a pause.
        """
        self._stop_accepting()
        self._drained = done
        self._drain_until_ns = self.clock_ns() + int(self.limits.drain_s * _SECOND)
        self._check_drained()
        self._drain_on()

    def close(self) -> None:
        """Close everything at once."""
        self._stop_accepting()
        for connection in list(self._connections):
            connection.close()

    def tick(self) -> None:
        """Close what took too long. To be called about once a second."""
        now_ns = self.clock_ns()
        self._close_late(self._owing, now_ns - int(self.limits.read_s * _SECOND))
        self._close_late(self._blocked, now_ns - int(self.limits.write_s * _SECOND))
        unused_since_ns = now_ns - int(self.limits.idle_s * _SECOND)
        idle = []
        for connection in self._connections:
            if connection.used_ns > unused_since_ns:
                break
            if connection.is_idle:
                idle.append(connection)
        for connection in idle:
            connection.close()

    def _drain_on(self) -> None:
        """Close what is quiet by now, everything when time is up; look again a little later."""
        if self._drained is None:
            return
        now_ns = self.clock_ns()
        if now_ns >= self._drain_until_ns:
            self.close()
            return
        quiet_since_ns = now_ns - int(self.limits.quiet_s * _SECOND)
        for connection in list(self._connections):
            if not connection.in_flight and connection.used_ns <= quiet_since_ns:
                connection.finish()
        self.loop.call_later(_DRAIN_LOOK_S, self._drain_on)

    @staticmethod
    def _close_late(since: dict[Connection, int], last_ns: int) -> None:
        """Close those that are in since from last_ns or before; the oldest is the first."""
        late = []
        for connection, since_ns in since.items():
            if since_ns > last_ns:
                break
            late.append(connection)
        for connection in late:
            connection.close()

    def _stop_accepting(self) -> None:
        """Leave what waits in the accept queues to whoever shares the sockets."""
        for listening in self._listening.values():
            self.loop.remove_reader(listening.fileno())
        self._listening.clear()

    # ---- accepting

    def _accept(self, listener: int, listening: socket.socket) -> None:
        """Take the clients that wait."""
        for _ in range(_ACCEPTS):
            try:
                accepted, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._exhausted(listener, listening, error)
                    return
                continue  # that client is gone again (accept(2): treat such errors like EAGAIN)
            if len(self._connections) >= self.limits.connections:
                self._evict()
            self._open(listener, accepted, address)

    def _open(self, listener: int, accepted: socket.socket, address: Address) -> None:
        """A new client."""
        accepted.setblocking(False)
        peer = sockaddr(address)
        connection = Connection(self, accepted, self.answering.client(listener, peer), peer, self.clock_ns())
        self._connections[connection] = None
        self._counters.tcp_connections += 1
        self._counters.tcp_open = len(self._connections)

    def _evict(self) -> None:
        """Make room for one: the longest idle connection goes, else the longest unused."""
        oldest = next((c for c in self._connections if c.is_idle), None) or next(iter(self._connections))
        oldest.close()
        self._counters.tcp_evicted += 1

    def _exhausted(self, listener: int, listening: socket.socket, error: OSError) -> None:
        """The system has no descriptor or memory for another client: make room, and wait a little."""
        _log.warning("tcp.failed", reason=error.strerror, connections=len(self._connections))
        if self._connections:
            self._evict()
        self.loop.remove_reader(listening.fileno())
        self.loop.call_later(_PAUSE_S, self._accept_again, listener, listening)

    def _accept_again(self, listener: int, listening: socket.socket) -> None:
        """After a pause."""
        if self._listening.get(listener) is listening:
            self.loop.add_reader(listening.fileno(), self._accept, listener, listening)

    # ---- what connections tell (connection.Owner)

    def note_used(self, connection: Connection, now_ns: int) -> None:
        """See Owner."""
        connection.used_ns = now_ns
        self._connections.move_to_end(connection)

    def note_owing(self, connection: Connection, since_ns: int) -> None:
        """See Owner."""
        self._owing.pop(connection, None)
        if since_ns:
            self._owing[connection] = since_ns

    def note_blocked(self, connection: Connection, since_ns: int) -> None:
        """See Owner."""
        self._blocked.pop(connection, None)
        if since_ns:
            self._blocked[connection] = since_ns

    def note_held(self, connection: Connection, change: int) -> None:
        """See Owner."""
        del connection
        self._held += change
        while change > 0 and self._held > self.limits.held_octets:
            max(self._connections, key=_held_by).close()
            self._counters.tcp_evicted += 1

    def flush_soon(self, connection: Connection) -> None:
        """See Owner."""
        if not self._to_flush:
            self.loop.call_soon(self._flush)
        self._to_flush.append(connection)

    def note_closed(self, connection: Connection) -> None:
        """See Owner."""
        del self._connections[connection]
        self._owing.pop(connection, None)
        self._blocked.pop(connection, None)
        self._counters.tcp_open = len(self._connections)
        self._check_drained()

    def _flush(self) -> None:
        """Every connection that got replies in this turn sends them; the second entry of one finds nothing left."""
        to_flush, self._to_flush = self._to_flush, []
        for connection in to_flush:
            connection.flush()

    def _check_drained(self) -> None:
        """Tell whoever drains that all is done."""
        if self._drained is not None and not self._connections:
            self.loop.call_soon(self._drained)
            self._drained = None


def _held_by(connection: Connection) -> int:
    """What one connection holds."""
    return connection.held
