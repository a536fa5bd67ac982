"""The upstream process's view of shared memory, and the struct shd_finish that the C core works with.

Mapped writable: the table and the process's own segment. Mapped read-only: every worker slot.
"""

from __future__ import annotations

from typing import Any

from shardns import cache
from shardns.cache import Refused, file_memory, new_untouched
from shardns.core import ffi, lib
from shardns.log import get_logger
from shardns.plan.compiled import compile_rules
from shardns.role import Wiring

UDP_MAX = 4096
"""Octets of a UDP reply at most, whatever the client offers (RFC 6891 s.6.2.5)."""
NONE = 0xFFFFFFFF

log = get_logger()

CData = Any  # cffi has no types for what it makes


class Memory:
    """All segments, mapped, and what C needs to find its way in them."""

    def __init__(self, wiring: Wiring) -> None:
        """Map and check everything; write nothing. Raises Refused, OSError and MemoryError."""
        plan = wiring.plan
        self.table = wiring.table.mapped("struct shd_table_header *", writable=True)
        self.own = wiring.upstream.mapped("struct shd_upstream_segment *", writable=True)
        self.slots = [slot.mapped("struct shd_slot_segment *", writable=False) for slot in wiring.slots]
        self._check(wiring)
        self.rules = compile_rules(plan)
        self.caps, self._caps_by_block = self._make_caps(wiring)
        self._marks = ffi.new("struct shd_mark *[]", [slot.marks for slot in self.slots])
        self._writer_memory = ffi.new("uint8_t[]", 1)
        self.writer = ffi.NULL
        self._use = ffi.new("struct shd_table_use *")
        self._is_confined = False
        self._file_memory = file_memory(wiring.table.writable_fd)
        logs = any("log" in block.plugins for block in plan.blocks)
        self.log_ring = ffi.new("struct shd_log_ring *") if logs else None
        self._entry = new_untouched("struct shd_entry *")
        self.finish = ffi.new("struct shd_finish *")
        self._fill(wiring)

    def _check(self, wiring: Wiring) -> None:
        """Refuse what was made for another layout, boot or size."""
        boot = cache.boot_id()
        if lib.shd_table_check(self.table, wiring.table.size, boot) < 0:
            raise Refused("table")
        if lib.shd_segment_check(self.own, 0, wiring.upstream.size, boot) < 0:
            raise Refused("upstream segment")
        for number, slot in enumerate(self.slots):
            if lib.shd_segment_check(slot, number, wiring.slots[number].size, boot) < 0:
                raise Refused(f"worker slot {number}")

    def _make_caps(self, wiring: Wiring) -> tuple[CData, CData]:
        """The caps of all cache ids, and for each block the index of its own."""
        blocks = wiring.plan.blocks
        ids = list(dict.fromkeys(block.cache_id for block in blocks if "cache" in block.plugins))
        caps = ffi.new("struct shd_cap[]", max(1, len(ids)))
        cap_of = ffi.new("uint32_t[]", max(1, len(blocks)))
        for block in blocks:
            cap_of[block.index] = NONE
            config: Any = block.plugins.get("cache")
            if config is not None:
                at = cap_of[block.index] = ids.index(block.cache_id)
                caps[at] = {
                    "cache_id": block.cache_id,
                    "success_cap": config.success.capacity,
                    "denial_cap": config.denial.capacity,
                }
        self.cap_count = len(ids)
        return caps, cap_of

    def _fill(self, wiring: Wiring) -> None:
        """Fill struct shd_finish, all but the writer."""
        finish = self.finish
        finish.rules = self.rules.pointer
        finish.table = self.table
        finish.caps = self._caps_by_block
        for number, slot in enumerate(self.slots):
            finish.slots[number] = slot
        finish.slot_count = len(self.slots)
        finish.worker_count = wiring.worker_count
        finish.own = self.own
        finish.entry = self._entry
        finish.log = self.log_ring or ffi.NULL
        finish.udp_max = UDP_MAX
        for listener in range(lib.SHD_LISTENERS_MAX):
            for worker in range(lib.SHD_WORKERS_MAX):
                sock = wiring.udp.get((listener, worker))
                finish.fds[listener][worker] = -1 if sock is None else sock.fileno()
        if lib.shd_finish_create(finish) < 0:
            raise MemoryError("shd_finish_create")

    def cap_of(self, block: int) -> int:
        """Index in `caps` of a block's; NONE for one without `cache`."""
        return int(self._caps_by_block[block])

    def take_over(self) -> None:
        """Become the table's writer: from here on nobody else may be."""
        geometry = ffi.addressof(self.table, "geometry")
        self._writer_memory = ffi.new("uint64_t[]", lib.shd_writer_size(geometry, self.cap_count) // 8 + 1)
        self.writer = ffi.cast("struct shd_writer *", self._writer_memory)
        found = lib.shd_writer_init(self.writer, self.table, self._marks, len(self.slots), self.caps, self.cap_count)
        lib.shd_writer_reserve(self.writer, self._file_memory)
        self.finish.writer = self.writer
        log.info("table.recovered", entries=found)

    def use(self) -> CData:
        """The table's struct shd_table_use as it is now, until the next call; zero before take_over."""
        if self.writer != ffi.NULL:
            lib.shd_writer_use(self.writer, self._use)
        return self._use

    def look(self) -> None:
        """Say, once, that there was no memory for a page of the table."""
        if not self._is_confined and self.use().refusals:
            self._is_confined = True
            reason = "no room in /dev/shm: entries are evicted early"
            log.warning("table.confined", pages=self._use.pages_used, of=self._use.pages_total, reason=reason)
