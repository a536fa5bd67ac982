"""What a child process gets from the supervisor, and the few words they say to each other.

A child is forked, so everything here is inherited memory and descriptors, never a message. It must close what
its role may not hold (a worker: every writable view of the table).
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from shardns.plan import Plan


class Word(enum.Enum):
    """A datagram on the control socket (SOCK_SEQPACKET) between supervisor and child."""

    READY = b"ready"  # child: everything is loaded; the next GO starts service at once
    SERVING = b"serving"  # child: service has started
    GO = b"go"  # supervisor: start
    DRAIN = b"drain"  # supervisor: take nothing new, finish what is in hand, exit 0
    STOP = b"stop"  # supervisor: exit 0 now; open asks stay in their rings
    FATAL = b"fatal"  # child: followed by a space and the reason; the supervisor must exit (loop detected)
    RELOAD = b"reload"  # child (operator's control socket): please reload


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of shared memory as descriptors; the child maps it."""

    writable_fd: int  # -1 in a role that must not write it
    readable_fd: int  # opened O_RDONLY
    size: int  # octets


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything a child inherits. Sockets are non-blocking and already listening."""

    plan: Plan
    generation: int  # counts reloads; its parity chooses the half of the worker slots
    worker_count: int
    udp: Mapping[tuple[int, int], socket.socket]  # (listener index, worker index 0..N-1)
    tcp: Mapping[tuple[int, int], socket.socket]
    http: Mapping[str, socket.socket]  # "host:port" as written in the Plan -> listening socket for health, metrics, ready
    table: Segment
    slots: tuple[Segment, ...]  # 2 * worker_count worker slots
    upstream: Segment
    wake_fd: int  # eventfd: wakes the upstream process
    miss_socket: socket.socket  # listening Unix stream socket: TCP clients' misses; upstream accepts, workers connect to getsockname()
    operator_socket: socket.socket | None  # listening Unix stream socket for `shardns` subcommands (served by upstream)
    start_ns: int  # CLOCK_MONOTONIC when the supervisor started

    def slot_of(self, worker: int) -> int:
        """The slot of worker 0..N-1 in this generation."""
        return worker + (self.generation % 2) * self.worker_count
