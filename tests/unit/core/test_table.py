"""The table against dicts: what is found is what was stored last, and a cap throws out what a cap must."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shardns.core import ffi, lib

Cdata = Any
SEED = (3, 4)
BOOT = b"boot-of-the-test"
PLAIN, CAPPED = 1, 2  # cache ids; the indices of their caps are one less
CAP = {True: 2, False: 1}  # entries of the capped block, by whether they are successes

numbers = st.integers(0, 12)
sizes = st.one_of(st.integers(12, 600), st.integers(12, 65_535))


def key_of(cache_id: int, number: int) -> bytes:
    """A key as long as number says, 13 to 109 octets."""
    return cache_id.to_bytes(8, "little") + bytes([0, 1, 0, 1, 0]) + bytes([number]) * (8 * number)


def wire_of(number: int, version: int, size: int) -> bytes:
    """What an entry says: told by number and version, so that no other's octets can pass for it."""
    return (f"{number}/{version} ".encode() * (size // 4 + 1))[:size]


class TableModel(RuleBasedStateMachine):
    """One writer, one reader, two blocks: one without caps, which never has to lose anything here, and one with."""

    @initialize()
    def start(self) -> None:
        """An empty table."""
        geometry = ffi.new("struct shd_geometry *")
        self.size = lib.shd_table_plan(lib.SHD_TABLE_MIN, geometry)
        self.geometry = geometry
        self.segment = ffi.new("uint64_t[]", self.size // 8)
        lib.shd_table_init(self.segment, geometry, SEED, BOOT)
        self.header = ffi.cast("struct shd_table_header *", self.segment)
        self.marks = ffi.new("uint64_t[]", lib.shd_table_marks_size(geometry) // 8)
        self.marks_of = ffi.new("struct shd_mark *[]", [ffi.cast("struct shd_mark *", self.marks)])
        self.caps = ffi.new(
            "struct shd_cap[]",
            [{"cache_id": PLAIN}, {"cache_id": CAPPED, "success_cap": CAP[True], "denial_cap": CAP[False]}],
        )
        self.entry = ffi.new("struct shd_entry *")
        self.plain: dict[int, bytes] = {}
        self.capped: dict[bool, OrderedDict[int, bytes]] = {True: OrderedDict(), False: OrderedDict()}
        self.is_ordered = True  # the lists of the caps are in the order of the model's
        self.version = 0
        assert self.open_writer() == 0

    def open_writer(self) -> int:
        """Start writing; the number of entries found."""
        self.memory = ffi.new("uint64_t[]", lib.shd_writer_size(self.geometry, 2) // 8 + 1)
        self.writer = ffi.cast("struct shd_writer *", self.memory)
        found: int = lib.shd_writer_init(self.writer, self.segment, self.marks_of, 1, self.caps, 2)
        return found

    def store(self, cache_id: int, number: int, size: int, kind: int) -> bytes:
        """Store a new version; its wire."""
        self.version += 1
        key, wire = key_of(cache_id, number), wire_of(number, self.version, size)
        head = self.entry.head
        head.key_len, head.wire_len, head.place_count, head.kind = len(key), len(wire), number, kind
        ffi.memmove(self.entry.key, key, len(key))
        ffi.memmove(self.entry.wire, wire, len(wire))
        for at in range(number):
            self.entry.places[at] = {"ttl_at": at, "end_at": self.version % 65536}
        digest = lib.shd_hash(SEED, key, len(key))
        assert lib.shd_writer_store(self.writer, self.entry, digest, cache_id - 1, self.version) == 0
        return wire

    def find(self, cache_id: int, number: int) -> bytes | None:
        """The wire that a reader gets."""
        key = key_of(cache_id, number)
        digest = lib.shd_hash(SEED, key, len(key))
        got = lib.shd_table_find(self.segment, key, len(key), digest, self.entry, ffi.NULL)
        if got < 0:
            assert got == lib.SHD_EMISS
            return None
        assert self.entry.head.hash == digest
        assert self.entry.head.place_count == number
        assert [place.ttl_at for place in self.entry.places[0:number]] == list(range(number))
        return bytes(ffi.buffer(self.entry.wire, got))

    def remove(self, cache_id: int, number: int) -> int:
        """Remove; how many there were."""
        key = key_of(cache_id, number)
        removed: int = lib.shd_writer_remove(self.writer, key, len(key), lib.shd_hash(SEED, key, len(key)))
        return removed

    @rule(number=numbers, size=sizes)
    def store_plain(self, number: int, size: int) -> None:
        """Without a cap the new version is found, whatever was there."""
        self.plain[number] = self.store(PLAIN, number, size, lib.SHD_KIND_SUCCESS)
        assert self.find(PLAIN, number) == self.plain[number]

    @rule(number=numbers, size=sizes, kind=st.sampled_from(["SUCCESS", "DENIAL", "FAILURE"]))
    def store_capped(self, number: int, size: int, kind: str) -> None:
        """A full cap loses its oldest entry; one that is stored again is the newest; success and denial are apart."""
        is_success = kind == "SUCCESS"
        own, other = self.capped[is_success], self.capped[not is_success]
        if number not in own and len(own) == CAP[is_success] and self.is_ordered:
            own.popitem(last=False)
        elif number not in own and len(own) == CAP[is_success]:
            before = set(own)
            wire = self.store(CAPPED, number, size, getattr(lib, f"SHD_KIND_{kind}"))
            (gone,) = [old for old in before if self.find(CAPPED, old) is None]
            del own[gone]
            other.pop(number, None)
            own[number] = wire
            return
        own.pop(number, None)
        other.pop(number, None)
        own[number] = self.store(CAPPED, number, size, getattr(lib, f"SHD_KIND_{kind}"))

    @rule(number=numbers)
    def remove_plain(self, number: int) -> None:
        """What is there is removed once."""
        assert self.remove(PLAIN, number) == (self.plain.pop(number, None) is not None)
        assert self.find(PLAIN, number) is None

    @rule(number=numbers)
    def remove_capped(self, number: int) -> None:
        """A removed entry makes room under its cap."""
        was_there = any(block.pop(number, None) is not None for block in self.capped.values())
        assert self.remove(CAPPED, number) == was_there

    @precondition(lambda self: self.version > 0)
    @rule()
    def restart(self) -> None:
        """A new writer finds all entries; only the order of the caps' lists is forgotten."""
        self.is_ordered = False
        assert self.open_writer() == len(self.plain) + sum(map(len, self.capped.values()))

    @rule()
    def walk(self) -> None:
        """A walk meets every entry once."""
        at = ffi.new("uint64_t *")
        met = []
        while lib.shd_table_next(self.segment, at, self.entry):
            met.append(bytes(ffi.buffer(self.entry.key, self.entry.head.key_len)))
        wanted = [key_of(PLAIN, number) for number in self.plain]
        wanted += [key_of(CAPPED, number) for block in self.capped.values() for number in block]
        assert sorted(met) == sorted(wanted)

    @invariant()
    def agrees(self) -> None:
        """Everything is found as it was stored last, and the writer's books are right."""
        if not hasattr(self, "plain"):
            return
        for number, wire in self.plain.items():
            assert self.find(PLAIN, number) == wire
        for block in self.capped.values():
            for number, wire in block.items():
                assert self.find(CAPPED, number) == wire
        assert self.caps[1].success_count == len(self.capped[True])
        assert self.caps[1].denial_count == len(self.capped[False])

    def teardown(self) -> None:
        """The whole-table check is slow, so it comes once, at the end."""
        if hasattr(self, "writer"):
            assert lib.shd_writer_check(self.writer) == 0


TestTable = pytest.mark.slow(TableModel.TestCase)
TestTable.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
