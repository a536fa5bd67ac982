"""A whole data plane in private memory, without processes: table, worker slots, upstream segment and real sockets.

Tests drive the C functions by hand, so every moment between two steps can be looked at.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import dns.message

from shardns.core import ffi, lib

Cdata = Any
BOOT = b"boot-of-the-test"
SEED = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
ZONE = b"\x07example\x03org\x00"
SECOND_NS = 1_000_000_000
START_NS = 1000 * SECOND_NS


class World:
    """One listener (index 0) on loopback, one block for example.org, `workers` workers."""

    def __init__(self, workers: int = 2, **rule: object) -> None:
        """rule: fields of struct shd_block_rule that differ from a plain `cache 3600`."""
        self.now_ns = START_NS
        self.workers = workers
        self._keep: list[Cdata] = []
        geometry = self._new("struct shd_geometry *")
        lib.shd_table_plan(4 << 20, geometry)
        self.table = self._segment("struct shd_table_header *", lib.shd_table_size(geometry))
        lib.shd_table_init(self.table, geometry, SEED, BOOT)
        slot_size = lib.shd_slot_segment_size(geometry)
        self.slots = [self._segment("struct shd_slot_segment *", slot_size) for _ in range(workers)]
        self.own = self._segment("struct shd_upstream_segment *", lib.shd_upstream_segment_size())
        fields: dict[str, object] = {
            "cache_id": 77, "has_cache": 1, "facets": lib.SHD_FACET_DO | lib.SHD_FACET_CD, "log_classes": 0,
            "ttl": {"success_min_s": 5, "success_max_s": 3600, "denial_min_s": 5, "denial_max_s": 1800, "failure_s": 5,
                    "store_success": 1, "store_denial": 1},
        }  # fmt: skip
        rules = self._new("struct shd_block_rule[]", [fields | rule])
        self.rules = ffi.gc(lib.shd_rules_create(rules, 1), lib.shd_rules_destroy)
        assert lib.shd_rules_add_zone(self.rules, 0, ZONE, len(ZONE), 0, 3) == 0
        assert lib.shd_rules_add_listener(self.rules, 0, 9) == 0
        self.sockets = [_udp() for _ in range(workers)]
        self.client = _udp()
        self.client.settimeout(2)
        self._make_finish(geometry)
        self.answerers = [self._answerer(slot) for slot in self.slots]

    def _new(self, kind: str, init: object = None) -> Cdata:
        made = ffi.new(kind, init)
        self._keep.append(made)
        return made

    def _segment(self, kind: str, size: int) -> Cdata:
        return ffi.cast(kind, self._new("uint64_t[]", size // 8 + 1))

    def _make_finish(self, geometry: Cdata) -> None:
        finish = self.finish = self._new("struct shd_finish *")
        finish.rules, finish.table, finish.own = self.rules, self.table, self.own
        finish.caps = self._new("uint32_t[]", [0])
        for number, slot in enumerate(self.slots):
            finish.slots[number] = slot
            finish.fds[0][number] = self.sockets[number].fileno()
        finish.slot_count = finish.worker_count = self.workers
        finish.entry = self._new("struct shd_entry *")
        finish.udp_max = 4096
        assert lib.shd_finish_create(finish) == 0
        self.caps = self._new("struct shd_cap[]", [{"cache_id": 77, "success_cap": 1000, "denial_cap": 1000}])
        marks = self._new("struct shd_mark *[]", [slot.marks for slot in self.slots])
        memory = self._new("uint64_t[]", lib.shd_writer_size(geometry, 1) // 8 + 1)
        self.writer = ffi.cast("struct shd_writer *", memory)
        lib.shd_writer_init(self.writer, self.table, marks, self.workers, self.caps, 1)
        finish.writer = self.writer

    def _answerer(self, slot: Cdata) -> Cdata:
        answerer = self._new("struct shd_answerer *")
        answerer.rules, answerer.table, answerer.marks = self.rules, self.table, slot.marks
        answerer.rows, answerer.process = slot.rows[lib.SHD_UDP], ffi.addressof(slot, "process")
        answerer.entry = self._new("struct shd_entry *")
        answerer.udp_max = 4096
        return answerer

    def close(self) -> None:
        """Give back what is not memory."""
        lib.shd_finish_destroy(self.finish)
        for sock in (*self.sockets, self.client):
            sock.close()

    # ---- what a worker does

    def answer(self, query: dns.message.Message | bytes, worker: int = 0) -> tuple[Cdata, bytes]:
        """shd_answer's verdict on query, and the reply's bytes."""
        wire = query if isinstance(query, bytes) else query.to_wire()
        out, parsed, verdict = (
            ffi.new("uint8_t[]", 4160),
            ffi.new("struct shd_query *"),
            ffi.new("struct shd_verdict *"),
        )
        lib.shd_answer(
            self.answerers[worker],
            wire,
            len(wire),
            0,
            lib.SHD_UDP,
            lib.SHD_IPV4,
            self.now_ns,
            out,
            4160,
            parsed,
            verdict,
        )
        return verdict, bytes(ffi.buffer(out, verdict.reply_len)) if verdict.action == lib.SHD_REPLY else b""

    def put_ask(self, query: dns.message.Message, worker: int = 0, kind: int | None = None) -> int:
        """Put an ask of our client into the worker's ring; its place."""
        wire = query.to_wire()
        parsed, index, finder = ffi.new("struct shd_query *"), ffi.new("uint32_t *"), ffi.new("struct shd_ask_finder *")
        assert lib.shd_query_parse(wire, len(wire), parsed) == 0
        ring, done = ffi.addressof(self.slots[worker], "ring"), ffi.addressof(self.own.done[worker])
        ask = lib.shd_ask_begin(ring, done, finder, index)
        assert ask != ffi.NULL
        peer = _sockaddr(self.client)
        ask.listener, ask.arrived_ns, ask.kind, ask.peer_len = 0, self.now_ns, kind or lib.SHD_ASK_CLIENT, len(peer)
        ffi.memmove(ask.peer, peer, len(peer))
        lib.shd_ask_set_wire(ask, parsed)
        lib.shd_ask_publish(ring, index[0])
        return int(index[0])

    def open_asks(self, worker: int = 0) -> int:
        """How many asks of worker are not answered."""
        ring = self.slots[worker].ring
        return sum(ring.turns[i] != self.own.done[worker].done[i] for i in range(lib.SHD_ASKS))

    # ---- what the upstream process does

    def take(self) -> list[Cdata]:
        """shd_take's records."""
        taken, more = ffi.new("struct shd_taken[]", 5120), ffi.new("int *")
        count = lib.shd_take(self.finish, self.now_ns, taken, 5120, more)
        while more[0]:
            count += lib.shd_take(self.finish, self.now_ns, taken + count, 5120 - count, more)
        lib.shd_finish_flush(self.finish)
        self._keep.append(taken)
        return [taken[i] for i in range(count)]

    def accept(self, taken: Cdata, answer: dns.message.Message | bytes, stores: int = 7) -> int:
        """shd_finish_accept with answer to the flight of taken."""
        wire = answer if isinstance(answer, bytes) else answer.to_wire()
        return int(lib.shd_finish_accept(self.finish, wire, len(wire), taken.flight, taken.block, stores, self.now_ns))

    def reply(self, *taken: Cdata, how: int = 0) -> None:
        """Reply with the entry in hand, and send."""
        lib.shd_finish_reply(self.finish, [t.waiter for t in taken], len(taken), how, lib.SHD_BY_CACHE, self.now_ns)
        lib.shd_finish_flush(self.finish)

    def received(self) -> dns.message.Message:
        """The next reply that came to our client."""
        return dns.message.from_wire(self.client.recv(65535))

    def store(self, query: dns.message.Message, answer: dns.message.Message) -> int:
        """Put answer into the table the way a miss does; its kind."""
        self.put_ask(query)
        (taken,) = self.take()
        kind = self.accept(taken, answer)
        self.reply(taken)
        self.received()
        return kind


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def _sockaddr(sock: socket.socket) -> bytes:
    host, port = sock.getsockname()
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
