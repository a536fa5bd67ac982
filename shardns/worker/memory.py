"""The worker's view of shared memory, and the structs that its two threads hand to the C core.

Mapped writable: the worker's own slot. Mapped read-only: the table and the upstream process's segment; a descriptor
that could be mapped otherwise is not even here.

The C thread (UDP) and the event loop's thread (TCP) have an answerer each, with scratch space, counter rows and a log
ring of their own. They share the slot's marks (atomic) and its process counters.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from shardns.cache import Refused, new_untouched
from shardns.core import ffi, lib
from shardns.plan.compiled import compile_rules
from shardns.plugins import log
from shardns.role import Wiring

UDP_MAX: Final = 4096  # octets of a UDP reply at most, whatever the client offers (RFC 6891 s.6.2.5)
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})

# cffi's objects have no types.
Cdata = Any


class Memory:
    """All segments of one worker, mapped and checked, and what was made of the Plan."""

    def __init__(self, wiring: Wiring, worker: int, boot: bytes) -> None:
        """Map and check; write nothing. Raises Refused, OSError and MemoryError."""
        number = wiring.slot_of(worker)
        self.slot_number = number
        self.table = wiring.table.mapped("struct shd_table_header *", writable=False)
        self.upstream = wiring.upstream.mapped("struct shd_upstream_segment *", writable=False)
        self.slot = wiring.slots[number].mapped("struct shd_slot_segment *", writable=True)
        if lib.shd_table_check(self.table, wiring.table.size, boot) < 0:
            raise Refused("table")
        if lib.shd_segment_check(self.upstream, 0, wiring.upstream.size, boot) < 0:
            raise Refused("upstream segment")
        if lib.shd_segment_check(self.slot, number, wiring.slots[number].size, boot) < 0:
            raise Refused(f"worker slot {number}")
        self.process = ffi.addressof(self.slot, "process")
        self.rules = compile_rules(wiring.plan)
        logs = any(log.NAME in block.plugins for block in wiring.plan.blocks)
        self.log_rings = [ffi.new("struct shd_log_ring *") for _ in range(2)] if logs else []
        self._entries = [new_untouched("struct shd_entry *") for _ in range(2)]
        self.tcp_answerer = ffi.new("struct shd_answerer *")
        self._fill_answerer(self.tcp_answerer, lib.SHD_TCP)

    def _fill_answerer(self, answerer: Cdata, proto: int) -> None:
        """Everything that one thread needs to answer."""
        answerer.rules = self.rules.pointer
        answerer.table = self.table
        answerer.marks = self.slot.marks
        answerer.rows = self.slot.rows[proto]
        answerer.process = self.process
        answerer.log = self.log_rings[proto] if self.log_rings else ffi.NULL
        answerer.entry = self._entries[proto]
        answerer.udp_max = UDP_MAX

    def adopt_ring(self) -> None:
        """Have the upstream process look for asks that a predecessor in this slot left open."""
        lib.shd_ask_adopt(ffi.addressof(self.slot, "ring"))

    def make_serve(self, wiring: Wiring, worker: int, *, stop_fd: int, log_fd: int) -> Cdata:
        """What the C thread works with: a struct shd_serve, good as long as this object is.

        stop_fd and log_fd are eventfds; log_fd is -1 without logging.
        """
        serve = ffi.new("struct shd_serve *")
        self._fill_answerer(serve.answerer, lib.SHD_UDP)
        serve.batch = ffi.addressof(self.slot, "batch")
        serve.generation = wiring.generation
        serve.ring = ffi.addressof(self.slot, "ring")
        serve.done = ffi.addressof(self.upstream, "done", self.slot_number)
        serve.upstream_sleeping = ffi.addressof(self.upstream, "sleeping")
        serve.wake_fd = wiring.wake_fd
        serve.stop_fd = stop_fd
        serve.log_fd = log_fd
        sockets = [(listener, sock) for (listener, owner), sock in sorted(wiring.udp.items()) if owner == worker]
        for at, (listener, sock) in enumerate(sockets):
            serve.sockets[at] = {
                "fd": sock.fileno(),
                "listener": listener,
                "family": lib.SHD_IPV4 if sock.family == socket.AF_INET else lib.SHD_IPV6,
                "wildcard": int(sock.getsockname()[0] in _WILDCARDS),
            }
        serve.socket_count = len(sockets)
        return serve
