"""Segments for tests: sparse memory files with the C structs in them."""

import mmap
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from shardns.core import ffi, lib
from shardns.metrics import Memory, Sources, TableUse


@dataclass(frozen=True)
class RowView:
    """A row of a Plan."""

    index: int
    server: str
    zone: str


class Segment:
    """A memory file, and the struct at its beginning."""

    def __init__(self, struct, size):
        self.fd = os.memfd_create("segment")
        os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        self._buffer = ffi.from_buffer(self._map)
        self.at = ffi.cast(f"{struct} *", self._buffer)

    def close(self):
        """Unmap and close."""
        ffi.release(self._buffer)
        self._map.close()
        os.close(self.fd)

    def allocated_bytes(self):
        """How much of the file is there."""
        return os.fstat(self.fd).st_blocks * 512


class Pools:
    """Counts of no nameserver."""

    healthcheck_broken = 0
    max_concurrent_rejects = 0

    def __init__(self):
        self.upstreams = {}


@dataclass
class FlightCounts:
    """Counts of flights."""

    started: int = 0
    joined: int = 0
    failed: int = 0
    open: int = 0


@dataclass
class World:
    """Two workers' slots in two generations, the upstream segment, and sources that read them."""

    slots: list[Segment]
    upstream: Segment
    sources: Sources

    def row(self, slot, proto, index):
        """A row of a worker slot."""
        return self.slots[slot].at.rows[proto][index]


@contextmanager
def world(rows=(), generation=0, **more):
    """A World; more goes to Sources."""
    size = ffi.sizeof("struct shd_slot_segment")
    slots = [Segment("struct shd_slot_segment", size) for _ in range(4)]
    upstream = Segment("struct shd_upstream_segment", ffi.sizeof("struct shd_upstream_segment"))
    first = generation % 2 * 2
    memory = Memory(tuple(slot.fd for slot in slots), (first, first + 1), upstream.fd)
    fields = {
        "version": "1.2.3",
        "memory": memory,
        "rows": rows,
        "pools": Pools(),
        "flights": FlightCounts(),
        "table": lambda: TableUse(1 << 26),
        "start_time_s": 1_700_000_000.5,
        "supervisor_pid": os.getpid(),
    }
    try:
        yield World(slots, upstream, Sources(**(fields | more)))
    finally:
        for segment in (*slots, upstream):
            with suppress(BufferError):
                segment.close()


def query(qtype=1, *, do=False, length=40):
    """A parsed query, for shd_count_answer."""
    found = ffi.new("struct shd_query *")
    found.qtype = qtype
    found.dnssec_ok = do
    found.packet_len = length
    return found


def count(row, qtype=1, *, proto=0, family=0, rcode=0, plugin=1, response=100, duration_ns=1, do=False, length=40):
    """Count an answer in row, as the C side does."""
    lib.shd_count_answer(
        ffi.addressof(row),
        query(qtype, do=do, length=length),
        proto,
        family,
        rcode,
        plugin,
        response,
        duration_ns,
    )
