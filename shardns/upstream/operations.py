"""What an operator can do, on the real table: the Operations of operator.py.

Everything is done in small steps, for the upstream process answers misses in between. Entries that are stored or
evicted meanwhile may be seen or not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic_ns
from typing import Any, Final

from shardns.core import ffi, lib
from shardns.dns import codes, message, names
from shardns.errors import Malformed
from shardns.metrics import Reader, Sources
from shardns.upstream.operator import Question
from shardns.upstream.operator_client import Item

STEP: Final = 256  # entries or keys looked at between two turns of the event loop
_KEY: Final = struct.Struct("=QHHB")  # core/entry.h: cache id, type, class, facets; the folded name follows
_NAME_AT: Final = _KEY.size
_FACETS: Final = (
    (lib.SHD_FACET_DO, "do"),
    (lib.SHD_FACET_CD, "cd"),
    (lib.SHD_FACET_FAMILY6, "ipv6"),
    (lib.SHD_FACET_TCP, "tcp"),
)
_ALL_FACETS: Final = 1 << len(_FACETS)
_KINDS: Final = {lib.SHD_KIND_SUCCESS: "success", lib.SHD_KIND_DENIAL: "denial", lib.SHD_KIND_FAILURE: "failure"}
_TYPES: Final = tuple(int(qtype) for qtype in codes.Type)

CData = Any  # cffi has no types for what it makes


class TableOperations:
    """Operations on the table. The process that uses it is the table's writer."""

    def __init__(
        self,
        table: CData,
        writer: CData,
        zones: Mapping[int, Sequence[str]],
        stats: Callable[[], Mapping[str, object]],
        about: Callable[[], Mapping[str, object]],
        reload: Callable[[], None],
        table_fd: int,
    ) -> None:
        """table: struct shd_table_header *. writer: struct shd_writer *. zones: of the server blocks, by cache id."""
        self.table_fd = table_fd
        self._table = table
        self._writer = writer
        self._zones = zones
        self._stats = stats
        self._about = about
        self._reload = reload

    def lookup(self, question: Question) -> Iterator[Item | None]:
        """The cached answers to a question, one per facet that it was asked with."""
        entry = ffi.new("struct shd_entry *")
        name = names.fold(names.to_wire(question.name))
        ids = [at for at, zones in self._zones.items() if not question.zone or question.zone in zones]
        for cache_id in ids:
            for qtype in (question.qtype,) if question.qtype else _TYPES:
                for facets in range(_ALL_FACETS):
                    key = _KEY.pack(cache_id, qtype, codes.Class.IN, facets) + name
                    digest = lib.shd_hash(self._table.seed, key, len(key))
                    if lib.shd_table_find(self._table, key, len(key), digest, entry, ffi.NULL) >= 0:
                        yield self._item(entry, key, records=True)
                yield None

    def dump(self, zone: str, *, records: bool) -> Iterator[Item | None]:
        """The entries at and below zone."""
        entry = ffi.new("struct shd_entry *")
        for key in self._walk(entry, zone, below=True):
            yield self._item(entry, key, records=records) if key else None

    def flush(self, name: str, *, below: bool) -> Iterator[int]:
        """Throw out the entries of name, and (below) of all names below it."""
        entry = ffi.new("struct shd_entry *")
        for key in self._walk(entry, name, below=below):
            yield lib.shd_writer_remove(self._writer, key, len(key), entry.head.hash) if key else 0

    def stats(self) -> Mapping[str, object]:
        """Numbers by name."""
        return self._stats()

    def about(self) -> Mapping[str, object]:
        """What is served, and by whom."""
        return self._about()

    def reload(self) -> None:
        """Ask the supervisor for a reload."""
        self._reload()

    def _walk(self, entry: CData, name: str, *, below: bool) -> Iterator[bytes]:
        """The key of each entry of name (and below it), the entry itself in entry; empty at the end of a step."""
        wire = names.fold(names.to_wire(name))
        at = ffi.new("uint64_t *")
        count = 0
        while lib.shd_table_next(self._table, at, entry):
            key = bytes(ffi.buffer(entry.key, entry.head.key_len))
            if is_at_or_below(key[_NAME_AT:], wire) if below else key[_NAME_AT:] == wire:
                yield key
            count += 1
            if count % STEP == 0:
                yield b""

    def _item(self, entry: CData, key: bytes, *, records: bool) -> Item:
        """An entry for the operator."""
        head = entry.head
        cache_id, qtype, qclass, facets = _KEY.unpack_from(key)
        age_s = max(0, monotonic_ns() // 1_000_000 - head.stored_ms) // 1000
        item: Item = {
            "name": names.from_wire(key[_NAME_AT:]),
            "type": codes.type_text(qtype),
            "class": codes.class_text(qclass),
            "zones": list(self._zones.get(cache_id, ())),
            "facets": [word for bit, word in _FACETS if facets & bit],
            "kind": _KINDS.get(head.kind, "none"),
            "rcode": codes.rcode_text(head.rcode),
            "ttl_s": head.ttl_s,
            "age_s": age_s,
            "left_s": head.ttl_s - age_s,
            "octets": head.wire_len,
        }
        if records:
            item["records"] = record_lines(bytes(ffi.buffer(entry.wire, head.wire_len)), max(0, head.ttl_s - age_s))
        return item


def is_at_or_below(name: bytes, zone: bytes) -> bool:
    """Whether name is zone or lies below it; both folded, in wire format."""
    if not name.endswith(zone):
        return False
    at = 0
    while len(name) - at > len(zone):
        at += name[at] + 1
    return len(name) - at == len(zone)


def record_lines(wire: bytes, ttl_s: int) -> list[str]:
    """The records of a message as zone-file lines with this TTL; those that are no answer say so in a comment."""
    try:
        parsed = message.parse(wire)
    except Malformed as error:
        return [f"; cannot be shown: {error}"]
    sections = ((parsed.answer, ""), (parsed.authority, " ; authority"), (parsed.additional, " ; additional"))
    return [
        f"{record.name} {ttl_s} {codes.class_text(record.rclass)} {codes.type_text(record.rtype)} {record.data}{tail}"
        for section, tail in sections
        for record in section
    ]


def numbers(sources: Sources, reader: Reader, now_s: float) -> dict[str, object]:
    """Counts since the start and gauges of now, for `stats`. now_s: seconds since the epoch."""
    totals, table, control = reader.totals(), sources.table(), sources.control()
    upstreams = sources.pools.upstreams.values()
    workers = [reader.worker(n) for n in range(len(sources.memory.workers))]
    return {
        "version": sources.version,
        "uptime_s": round(now_s - sources.start_time_s, 3),
        "workers": len(workers),
        "queries": totals.queries,
        "hits": totals.hits,
        "misses": totals.misses,
        "stale": totals.stale,
        "failures": totals.failures,
        "packets_dropped": totals.packets_dropped,
        "tcp_open": sum(worker["tcp_open"] for worker in workers),
        "flights_open": sources.flights.open,
        "flights": sources.flights.started,
        "flights_joined": sources.flights.joined,
        "upstream_queries": sum(stats.tcp_queries + stats.udp_queries for stats in upstreams),
        "upstream_connections": sum(stats.open_connections for stats in upstreams),
        "upstream_in_flight": sum(stats.in_flight for stats in upstreams),
        "upstream_timeouts": sum(stats.timeouts for stats in upstreams),
        "table_entries": table.entries,
        "table_used_bytes": table.used_bytes,
        "table_size_bytes": table.size_bytes,
        "reloads": control.reloads,
        "reloads_failed": control.reloads_failed,
        "worker_restarts": control.worker_restarts,
        "upstream_restarts": control.upstream_restarts,
    }
