"""What one upstream process counted, the next one counts on from."""

import dataclasses

import pytest

from shardns.core import ffi
from shardns.exchange import PoolStats
from shardns.metrics import Sources
from shardns.metrics.histogram import Histogram
from shardns.metrics.sources import LocalCounts
from shardns.upstream.flights import FlightCounts
from shardns.upstream.ledger import Ledger
from tests.unit.metrics.segments import world

TO = "192.0.2.53:53"
TEMPLATE = ("dns://127.0.0.1:53", "a.", "IN", "A")


@dataclasses.dataclass
class Life:
    """One upstream process, as far as its counts go."""

    sources: Sources
    memory: object
    labels: tuple[str, ...] = ("a.",)

    def __post_init__(self):
        self.sources = dataclasses.replace(self.sources, health=Histogram(), local=LocalCounts(), panics=0)
        self.pools, self.flights = PoolStats(), FlightCounts()
        self.caps = {label: ffi.new("struct shd_cap *") for label in self.labels}
        self.ledger = Ledger(self.memory, self.pools, self.flights, self.sources, self.caps)
        self.ledger.restore()

    def count(self):
        """Count one of everything."""
        self.flights.started += 1
        self.flights.open += 1
        self.pools.healthcheck_broken += 1
        stats = self.pools.of(TO)
        stats.tcp_queries += 1
        stats.open_connections += 1
        stats.observe(3, 0.003)
        self.sources.panics += 1
        self.sources.health.observe(0.1)
        self.sources.local.template_matches[TEMPLATE] += 1
        for cap in self.caps.values():
            cap.denial_evictions += 1

    def counted(self):
        """How often each was counted."""
        stats = self.pools.of(TO)
        return [
            self.flights.started,
            self.pools.healthcheck_broken,
            stats.tcp_queries,
            sum(stats.durations[3].counts) if stats.durations[3] else 0,
            self.sources.panics,
            sum(self.sources.health.counts),
            self.sources.local.template_matches[TEMPLATE],
            *(cap.denial_evictions for cap in self.caps.values()),
        ]


@pytest.fixture
def sources():
    """Sources of a whole program."""
    with world() as w:
        yield w.sources


@pytest.fixture
def memory():
    """The ledger of a new segment."""
    return ffi.new("struct shd_ledger *")


def test_counts_go_on(sources, memory):
    """Each process adds to what those before it counted, however many there were."""
    for lives in range(1, 5):
        life = Life(sources, memory)
        life.count()
        life.ledger.save()
        assert life.counted() == [lives] * 8


def test_gauges_begin_anew(sources, memory):
    """What is open now is not what was open then."""
    first = Life(sources, memory)
    first.count()
    first.ledger.save()
    second = Life(sources, memory)
    assert (second.flights.open, second.pools.of(TO).open_connections) == (0, 0)


def test_killed_while_it_saves(sources, memory):
    """A half that was being written is not read: the counts are those of the save before."""
    life = Life(sources, memory)
    life.count()
    life.ledger.save()
    ffi.memmove(memory.halves[(memory.turn + 1) & 1], b"\xc1" * 5000, 5000)
    assert Life(sources, memory).counted() == [1] * 8


def test_too_much_is_not_saved(sources, memory):
    """Counts that have no room leave those that were saved before."""
    life = Life(sources, memory)
    life.count()
    life.ledger.save()
    for n in range(20_000):
        life.pools.of(f"nameserver {n}")
    life.ledger.save()
    assert Life(sources, memory).counted() == [1] * 8


def test_caches_that_come_back(sources, memory):
    """The evictions of a cache that one Plan does not have are there for the next Plan that has it."""
    for labels in (("a.", "b."), ("b.",), ("a.",)):
        life = Life(sources, memory, labels)
        life.count()
        life.ledger.save()
    assert life.caps["a."].denial_evictions == 2
