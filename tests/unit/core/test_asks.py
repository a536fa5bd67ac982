"""The ask ring against a list and a dict: each ask is taken once and in order, whoever is killed in between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shardns.core import ffi, lib

Cdata = Any
WRAP = 1 << 32


class AskModel(RuleBasedStateMachine):
    """One worker and one upstream process on one slot; both can be killed between any two steps."""

    @initialize(start=st.sampled_from([0, 1, WRAP - 1, WRAP - 30, WRAP // 2 - 5]))
    def begin(self, start: int) -> None:
        """A ring whose counters stand at start."""
        self.ring = ffi.new("struct shd_ask_ring *")
        self.done = ffi.new("struct shd_ask_done *")
        self.ring.tail = self.done.taken = start
        turns = ffi.new("uint32_t[]", [start] * lib.SHD_ASKS)
        ffi.memmove(self.ring.turns, turns, ffi.sizeof(turns))
        ffi.memmove(self.done.done, turns, ffi.sizeof(turns))
        self.indices = ffi.new("uint32_t[]", lib.SHD_ASKS)
        self.finder = ffi.new("struct shd_ask_finder *")
        self.number = 0
        self.open: dict[int, int] = {}  # number by place
        self.queued: list[int] = []  # places the upstream process has not been told of
        self.in_hand: set[int] = set()

    def fill(self) -> int | None:
        """A free place, filled and not published."""
        index = ffi.new("uint32_t *")
        ask = lib.shd_ask_begin(self.ring, self.done, self.finder, index)
        if ask == ffi.NULL:
            assert len(self.open) == lib.SHD_ASKS
            return None
        assert index[0] not in self.open
        self.number += 1
        ask.arrived_ns = self.number
        place: int = index[0]
        return place

    @rule(count=st.one_of(st.integers(1, 40), st.just(3000)))
    def put(self, count: int) -> None:
        """A place is given unless all are open; a full ring is counted."""
        for _ in range(count):
            full = self.ring.full
            place = self.fill()
            assert self.ring.full == full + (place is None)
            if place is not None:
                lib.shd_ask_publish(self.ring, place)
                self.open[place] = self.number
                self.queued.append(place)

    @rule(cap=st.integers(1, 64))
    def take(self, cap: int) -> None:
        """Asks come in the order they were put, as many as there is room for."""
        count = lib.shd_ask_take(self.ring, self.done, self.indices, cap)
        wanted, self.queued = self.queued[:cap], self.queued[cap:]
        assert list(self.indices[0:count]) == wanted
        self.in_hand.update(wanted)

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Asks may be answered in any order."""
        for place in data.draw(st.lists(st.sampled_from(sorted(self.in_hand) or [-1]), max_size=30, unique=True)):
            if place >= 0:
                lib.shd_ask_finish(self.ring, self.done, place)
                self.in_hand.remove(place)
                del self.open[place]

    def scan(self) -> None:
        """Every open ask comes once; the queue is empty after it."""
        count = lib.shd_ask_scan(self.ring, self.done, self.indices)
        found = list(self.indices[0:count])
        assert sorted(found) == sorted(self.open)
        self.in_hand.update(found)
        self.queued = []

    @rule()
    def upstream_is_killed(self) -> None:
        """What the victim had in hand is found by its successor."""
        self.in_hand.clear()
        self.scan()

    @rule()
    def worker_is_killed(self) -> None:
        """An ask that was being filled is forgotten with its worker; the others stay."""
        self.fill()
        self.finder = ffi.new("struct shd_ask_finder *")
        lib.shd_ask_adopt(self.ring)

    @rule()
    def worker_is_killed_publishing(self) -> None:
        """An ask whose turn was counted and whose place in the queue was not is found by the scan that follows."""
        scans = self.ring.scans
        place = self.fill()
        if place is None:
            return
        turn = (self.ring.turns[place] + 1) % WRAP
        self.ring.queue[self.ring.tail % lib.SHD_ASKS] = (turn << 12 | place) % WRAP
        self.ring.turns[place] = turn
        self.open[place] = self.number
        self.finder = ffi.new("struct shd_ask_finder *")
        lib.shd_ask_adopt(self.ring)
        assert self.ring.scans != scans
        self.scan()

    @invariant()
    def agrees(self) -> None:
        """Whether something waits is known, and every open ask is as it was put."""
        if not hasattr(self, "open"):
            return
        assert lib.shd_ask_waiting(self.ring, self.done) == bool(self.queued)
        for place, number in self.open.items():
            assert self.ring.asks[place].arrived_ns == number


TestAsks = pytest.mark.slow(AskModel.TestCase)
TestAsks.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
