"""The C counters (core/counters.h), read out of every process's segment and summed.

They are read by pread on the segments' descriptors, not through a mapping: a page of a sparse segment that nobody has
written reads as zeros and stays unallocated, while a mapping would make it on the first look. A number is 8 aligned
octets and is copied as one by every machine we run on.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shardns.core import ffi, lib
from shardns.dns import codes
from shardns.metrics.sources import Memory

_WORD: Final = 8
PROTOS: Final = ("udp", "tcp")  # enum shd_proto
FAMILIES: Final = ("1", "2")  # enum shd_family, as CoreDNS labels them
WRITERS: Final = ("", "cache", "forward", "loop", "hosts", "template", "rewrite", "whoami")  # enum shd_writer_plugin


def _layout(struct: str) -> dict[str, tuple[int, int]]:
    """The fields of a struct of 64-bit counters: name to (first word, how many words)."""
    fields: Any = ffi.typeof(struct).fields  # cffi types have no types of their own
    return {name: (field.offset // _WORD, ffi.sizeof(field.type) // _WORD) for name, field in fields}


ROW: Final = _layout("struct shd_row")
PROCESS: Final = _layout("struct shd_process_counters")
ROW_WORDS: Final = ffi.sizeof("struct shd_row") // _WORD
_PROCESS_BYTES: Final = ffi.sizeof("struct shd_process_counters")
_TYPES: Final = lib.SHD_TYPES
_RCODES: Final = lib.SHD_RCODES
_WRITER_COUNT: Final = (
    ffi.typeof("struct shd_row")
    .fields[[name for name, _ in ffi.typeof("struct shd_row").fields].index("responses")][1]
    .type.item.length
)
assert len(WRITERS) == _WRITER_COUNT

TYPES: Final = tuple(ffi.string(lib.shd_counter_type_name(n)).decode() for n in range(_TYPES))
RCODES: Final = (*(codes.rcode_text(n) for n in range(_RCODES - 1)), "other")


class Row:
    """The counters of one (listen address, zone) pair, summed over all processes."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: array[int], at: int) -> None:
        """The row that begins at word `at`."""
        self._words = words
        self._at = at

    def __getitem__(self, name: str) -> int:
        """A counter that is one number."""
        return self._words[self._at + ROW[name][0]]

    def many(self, name: str) -> Sequence[int]:
        """A counter that is an array, flat, as in memory."""
        first, count = ROW[name]
        return self._words[self._at + first : self._at + first + count]

    def pair(self, name: str) -> tuple[Sequence[int], Sequence[int]]:
        """A counter that is an array per proto: its UDP half and its TCP half."""
        flat = self.many(name)
        return flat[: len(flat) // 2], flat[len(flat) // 2 :]

    def requests(self) -> list[tuple[str, str, str, int]]:
        """(proto, family, type, how many) of every kind of query that came."""
        flat = self.many("requests")
        return [
            (PROTOS[n // (2 * _TYPES)], FAMILIES[n // _TYPES % 2], TYPES[n % _TYPES], count)
            for n, count in enumerate(flat)
            if count
        ]

    def responses(self) -> list[tuple[str, str, int]]:
        """(rcode, plugin, how many) of every kind of answer that went."""
        flat = self.many("responses")
        return [(RCODES[n // len(WRITERS)], WRITERS[n % len(WRITERS)], count) for n, count in enumerate(flat) if count]


@dataclass(frozen=True, slots=True)
class Totals:
    """The few sums that a person watches (`shardns demo`, the operator's socket)."""

    queries: int
    hits: int
    misses: int
    stale: int
    failures: int
    """Answers with SERVFAIL."""
    packets_dropped: int


class Reader:
    """Reads the counters of all segments."""

    def __init__(self, memory: Memory, row_count: int) -> None:
        """row_count: one more than the highest index in use."""
        self._memory = memory
        self._row_count = row_count
        slot, upstream = "struct shd_slot_segment", "struct shd_upstream_segment"
        self._slot_rows = ffi.offsetof(slot, "rows")
        self._slot_process = ffi.offsetof(slot, "process")
        self._upstream_rows = ffi.offsetof(upstream, "rows")
        self._upstream_process = ffi.offsetof(upstream, "process")
        self._proto_bytes = ffi.sizeof("struct shd_row") * lib.SHD_ROWS_MAX

    def rows(self) -> list[Row]:
        """Every row below row_count, by its index."""
        places = [(self._memory.upstream, self._upstream_rows)]
        for slot in self._memory.slots:
            places += [(slot, self._slot_rows), (slot, self._slot_rows + self._proto_bytes)]
        size = self._row_count * ROW_WORDS * _WORD
        # The words of a row are the digits, to the base 2^64, of one long number; and as no counter ever overflows,
        # no sum of digits carries. So adding whole arrays is adding numbers, which Python does in C.
        total = sum(int.from_bytes(os.pread(fd, size, at), "little") for fd, at in places)
        words = array("Q", total.to_bytes(size, "little"))
        return [Row(words, n * ROW_WORDS) for n in range(self._row_count)]

    def worker(self, number: int) -> Mapping[str, int]:
        """The process counters of worker 0..N-1, both its slots together; heartbeats and gauges of the slot in use."""
        memory = self._memory
        half = len(memory.slots) // 2
        own = self._process(memory.slots[memory.workers[number]], self._slot_process)
        for n in (number, number + half):
            if n != memory.workers[number]:
                for name, value in self._process(memory.slots[n], self._slot_process).items():
                    if name not in _NOW:
                        own[name] += value
        return own

    def upstream(self) -> Mapping[str, int]:
        """The process counters of the upstream process."""
        return self._process(self._memory.upstream, self._upstream_process)

    def totals(self) -> Totals:
        """The sums over everything."""
        rows = self.rows()
        servfail = codes.Rcode.SERVFAIL * len(WRITERS)
        workers = [self.worker(n) for n in range(len(self._memory.workers))]
        return Totals(
            queries=sum(sum(row.many("responses")) for row in rows),
            hits=sum(sum(row.many("cache_hits")) for row in rows),
            misses=sum(row["cache_misses"] for row in rows),
            stale=sum(row["cache_served_stale"] for row in rows),
            failures=sum(sum(row.many("responses")[servfail : servfail + len(WRITERS)]) for row in rows),
            packets_dropped=sum(worker["packets_dropped"] for worker in workers),
        )

    def _process(self, fd: int, at: int) -> dict[str, int]:
        """One struct shd_process_counters."""
        words = array("Q", os.pread(fd, _PROCESS_BYTES, at))
        return {name: words[first] for name, (first, count) in PROCESS.items() if count == 1}


_NOW: Final = frozenset({"heartbeat_ns", "heartbeat_loop_ns", "tcp_open"})
