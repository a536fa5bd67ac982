"""What a child process gets from the supervisor, and the few words they say to each other.

A child is forked, so everything here is inherited memory and descriptors, never a message. The supervisor's side of
the fork has already closed what the role may not hold before the child's main() sees its Wiring: every writable view
of memory that is another's, and every socket that is another worker's.

    supervisor                               child
        |-------------- fork ----------------->|   loads; serves nothing, writes to no segment but its own
        |<------------- READY -----------------|
        |-------------- GO ------------------->|   upstream: from here on the table's one writer
        |<------------- SERVING ---------------|
        |                                      |
        |-------------- PLACE + descriptor --->|   upstream: a port or socket name that was busy is ours now
        |-------------- LAMEDUCK ------------->|   upstream: /ready says no from here on
        |<------------- RELOAD ----------------|   upstream: an operator asked for it
        |<------------- FATAL reason ----------|   the whole program must end with exit code 1 (forwarding loop)
        |                                      |
        |-------------- DRAIN or STOP -------->|   exits 0

A control socket that is closed means that the supervisor is gone: exit at once.
"""

from __future__ import annotations

import array
import enum
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardns import cache
from shardns.plan import Plan

EXIT_BOOT = 3  # a child's exit code: it could not start, and would not on another try either
MESSAGE_MAX = 4096  # octets of a control datagram


class Word(enum.Enum):
    """A datagram on the control socket (SOCK_SEQPACKET) between supervisor and child."""

    READY = b"ready"  # child: everything is loaded; the next GO starts service at once
    SERVING = b"serving"  # child: service has started
    GO = b"go"  # supervisor: start
    DRAIN = b"drain"  # supervisor: take nothing new, finish what is in hand, exit 0
    STOP = b"stop"  # supervisor: exit 0 now; open asks stay in their rings
    LAMEDUCK = b"lameduck"  # supervisor to upstream: serve on, but /ready says no, because the end is near
    FATAL = b"fatal"  # child: followed by a space and the reason; the supervisor must exit (loop detected)
    RELOAD = b"reload"  # child (operator's control socket): please reload
    PLACE = b"place"  # supervisor to upstream: followed by a space and a key of Wiring.places; carries that socket


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram: a word, what follows it, and the descriptors that came along (now the receiver's own)."""

    word: Word
    text: str = ""
    fds: tuple[int, ...] = ()


def send(control: socket.socket, word: Word, text: str = "", fds: Sequence[int] = ()) -> None:
    """Say word to the other side. Raises OSError (BlockingIOError included) when it cannot be said."""
    wire = word.value + (b" " + text.encode() if text else b"")
    wire = wire[:MESSAGE_MAX]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    control.sendmsg([wire], rights, socket.MSG_NOSIGNAL)


def receive(control: socket.socket) -> Message | None:
    """The next datagram; None when the other side is gone.

    Raises BlockingIOError when there is none on a non-blocking socket, and ValueError on a word that nobody defined.
    """
    room = socket.CMSG_SPACE(struct.calcsize("i"))
    try:
        wire, rights, _, _ = control.recvmsg(MESSAGE_MAX, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # the other side died with something of ours unread
        return None
    fds = array.array("i")
    for level, kind, octets in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(octets[: len(octets) - len(octets) % fds.itemsize])
    if not wire:
        return None
    word, _, text = wire.partition(b" ")
    return Message(Word(word), text.decode(errors="replace"), tuple(fds))


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of shared memory as descriptors; the child maps it."""

    writable_fd: int  # -1 in a role that must not write it
    readable_fd: int  # opened O_RDONLY
    size: int  # octets

    def mapped(self, kind: str, *, writable: bool) -> Any:  # noqa: ANN401 - cffi's objects have no types
        """It as a pointer of the C type kind; the mapping lives as long as the pointer. Raises OSError."""
        return cache.mapped(self.writable_fd if writable else self.readable_fd, self.size, kind, writable=writable)

    def read_only(self) -> Segment:
        """The same memory for a role that must not write it."""
        return replace(self, writable_fd=-1)

    def close(self) -> None:
        """Give up both descriptors. For one that has both."""
        os.close(self.writable_fd)
        os.close(self.readable_fd)


class Count(enum.Enum):
    """A number of the supervisor's: its place in the tally. The comment is the metric it becomes."""

    RELOADS = 0  # shardns_reloads_total: new Plans that took over
    RELOAD_FAILED = 1  # coredns_reload_failed_total
    WORKER_RESTARTS = 2  # shardns_child_restarts_total{role="worker"}
    UPSTREAM_RESTARTS = 3  # shardns_child_restarts_total{role="upstream"}
    STUCK = 4  # shardns_child_stuck_total: killed because its heartbeat stood still
    HTTP_BUSY = 5  # shardns_http_busy: health and metrics ports that could not be had yet (a gauge)
    # coredns_nodecache_setup_errors_total{errortype="..."}, see shardns.metrics.sources.SETUP_ERRORS:
    SETUP_IPTABLES = 6
    SETUP_IPTABLES_LOCK = 7
    SETUP_INTERFACE_ADD = 8
    SETUP_INTERFACE_CHECK = 9
    SETUP_CONFIGMAP = 10


class Tally:
    """The supervisor's counts in a page of shared memory, 8 octets each in the order of Count.

    Written by the supervisor alone, each number in one aligned store; read by the upstream process's metrics page.
    """

    SIZE = 4096

    def __init__(self, memory: mmap.mmap) -> None:
        """Look at memory, SIZE octets, writable or not."""
        self._memory = memory
        self._cells = memoryview(memory).cast("Q")

    @classmethod
    def mapped(cls, segment: Segment) -> Tally:
        """The tally of segment, read-only."""
        return cls(mmap.mmap(segment.readable_fd, cls.SIZE, prot=mmap.PROT_READ))

    def __getitem__(self, count: Count) -> int:
        """The number as it is now."""
        return self._cells[count.value]

    def __setitem__(self, count: Count, value: int) -> None:
        """Supervisor only."""
        self._cells[count.value] = value

    def close(self) -> None:
        """Unmap it."""
        self._cells.release()
        self._memory.close()


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything a child inherits. Sockets are non-blocking and already listening."""

    plan: Plan
    generation: int  # counts reloads; its parity chooses the half of the worker slots
    worker_count: int
    udp: Mapping[tuple[int, int], socket.socket]  # (listener index, worker index 0..N-1)
    tcp: Mapping[tuple[int, int], socket.socket]
    # What else the upstream process listens on: "host:port" as written in the Plan for health, metrics and ready,
    # and `operator` for the subcommands. Some may be missing: whoever has them now, they come later (PLACE).
    places: Mapping[str, socket.socket]
    table: Segment
    slots: tuple[Segment, ...]  # 2 * worker_count worker slots
    upstream: Segment
    tally: Segment  # see Tally
    wake_fd: int  # eventfd: wakes the upstream process
    # Listening Unix stream socket for TCP clients' misses: upstream accepts, workers connect to getsockname().
    miss_socket: socket.socket
    operator: str  # the operator socket: a path, or @NAME in the abstract namespace
    start_ns: int  # CLOCK_MONOTONIC when the supervisor started

    def slot_of(self, worker: int) -> int:
        """The slot of worker 0..N-1 in this generation."""
        return worker + (self.generation % 2) * self.worker_count

    def for_worker(self, worker: int) -> Wiring:
        """What worker may hold: its own sockets, its own slot writable, no other place, everything else to read.

        The miss socket stays for its name; a worker connects to it and never accepts.
        """
        own = self.slot_of(worker)
        return replace(
            self,
            udp={key: sock for key, sock in self.udp.items() if key[1] == worker},
            tcp={key: sock for key, sock in self.tcp.items() if key[1] == worker},
            places={},
            table=self.table.read_only(),
            slots=tuple(slot if n == own else slot.read_only() for n, slot in enumerate(self.slots)),
            upstream=self.upstream.read_only(),
            tally=self.tally.read_only(),
        )

    def for_upstream(self) -> Wiring:
        """What the upstream process may hold: every UDP socket to answer on, the table and its own segment writable."""
        return replace(
            self,
            tcp={},
            slots=tuple(slot.read_only() for slot in self.slots),
            tally=self.tally.read_only(),
        )

    def descriptors(self) -> frozenset[int]:
        """The number of every descriptor in here."""
        segments = (self.table, self.upstream, self.tally, *self.slots)
        fds = {fd for segment in segments for fd in (segment.writable_fd, segment.readable_fd) if fd >= 0}
        groups = (self.udp.values(), self.tcp.values(), self.places.values(), (self.miss_socket,))
        fds.update(sock.fileno() for group in groups for sock in group)
        fds.add(self.wake_fd)
        return frozenset(fds)
