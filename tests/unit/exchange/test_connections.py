"""connections.py: how many connections an upstream gets, in driven time."""

from __future__ import annotations

import errno
import os

import pytest

from shardns.exchange import Failure
from shardns.exchange.tcp_mux import MAX_ASKS
from tests.fakes.nameserver import answer
from tests.unit.exchange.asks import frame
from tests.unit.exchange.driven import DIAL_S, HOP_S, Link, World, stopping


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A pool and an upstream that is fast."""
    return World(monkeypatch)


def number(n: int) -> str:
    """A name of its own for each query."""
    return f"n{n}.example.org"


@pytest.mark.parametrize("per_second", [20, 300, 2000])
@pytest.mark.parametrize(
    "run_s, stop_s", [(0.02, 0.08), (0.5, 0.05), (0.5, 0.12), (0.5, 0.3), (1.0, 0.9), (0.002, 0.2), (2.0, 2.0)]
)
def test_starved_upstream_is_not_serial(world, run_s, stop_s, per_second):
    """An upstream that answers in order and gets no CPU for a while, again and again, is left in peace."""
    world.wakes = stopping(run_s, stop_s)
    world.paced(per_second, 6000 / (per_second + 400), number)
    world.loop.run(5)
    assert world.all_right()
    assert world.most_open <= 4


@pytest.mark.parametrize("per_second", [20, 300])
def test_starved_replica_is_not_serial(world, per_second):
    """One of two replicas behind one address gets no CPU: what is asked elsewhere is answered there, all of it."""

    def wakes(link: Link, at: float) -> float:
        return stopping(0.5, 0.6)(link, at) if link.number % 2 else at

    world.wakes = wakes
    world.paced(per_second, 20, number)
    world.loop.run(5)
    assert world.all_right()
    assert world.most_open <= 4


@pytest.mark.parametrize("service_s", [0.02, 0.2, 0.8])
def test_slow_names_alone_are_not_serial(world, service_s):
    """Slow answers prove nothing while nothing waits behind them."""
    world.service = lambda _: service_s
    for n in range(30):
        world.ask(number(n))
        world.loop.run(1.0)
    assert world.all_right()
    assert world.most_open <= 4


def slow_now_and_then(n: int) -> str:
    """Each 25th name is a slow one."""
    return f"slow{n}.example.org" if n % 25 == 0 else number(n)


def test_serial_upstream_gets_a_connection_for_each_slow_query(world):
    """Once it is known that slow names hold up others on their connection they get connections of their own."""
    world.service = lambda name: 0.3 if name.startswith("slow") else 0.0
    world.paced(300, 4, slow_now_and_then)
    world.loop.run(1)
    world.outcomes.clear()
    world.asked = 0
    world.seen.clear()
    world.paced(300, 4, slow_now_and_then)
    world.loop.run(1)
    assert world.all_right()
    held_up = [name for name, _, took_s in world.outcomes if took_s > 0.05 and not name.startswith("slow")]
    assert len(held_up) <= 5
    assert len(world.seen) <= 1200 + 2 * 48
    assert 4 < world.most_open <= 32


def test_upstream_that_is_slow_with_every_name_gets_as_many_as_it_takes(world):
    """20 ms for each, in turn, 300/s: six connections' work, which four could not do."""
    world.service = lambda _: 0.02
    world.paced(300, 20, number)
    world.loop.run(5)
    assert world.all_right()
    assert 6 < world.most_open <= 32
    assert len(world.seen) < 1.05 * world.asked
    assert sorted(took_s for *_, took_s in world.outcomes)[world.asked // 2] < 0.05


@pytest.mark.parametrize("cost_s", [0.001, 0.005, 0.02])
@pytest.mark.parametrize("load", [0.8, 1.2, 2])
def test_overloaded_upstream_gets_few_connections(world: World, cost_s: float, load: float):
    """An upstream whose connections share one processor answers no more on more of them: it gets 8, no query twice."""
    free_at = 0.0

    def wakes(_: Link, at: float) -> float:
        nonlocal free_at
        free_at = max(at, free_at) + cost_s
        return free_at

    world.wakes = wakes
    world.service = lambda _: 1e-9  # each query is a turn of its own
    world.paced(int(load / cost_s), 10, number)
    assert world.most_open <= 8
    assert len(world.seen) < 1.05 * world.asked
    assert len(world.outcomes) > 0.95 * world.asked if load < 1 else True


def test_serial_upstream_that_is_starved_gets_no_more_connections(world):
    """Where nothing is answered more connections would not help."""
    world.service = lambda name: 0.3 if name.startswith("slow") else 0.0
    world.paced(300, 4, slow_now_and_then)
    allowed = world.pool._peers[0].tcp._growth.links
    world.wakes = lambda _, at: max(at, 1010.0)
    assert world.loop.now < 1006
    world.paced(3000, 1.0, number)
    assert sum(not link.closed for link in world.links) <= allowed < 32


def test_no_descriptor_left_is_a_failed_dial(world, monkeypatch):
    """A process out of descriptors says so, waits before it dials again, and asks when there are some."""
    dials = 0

    def none_left(*_: object) -> None:
        nonlocal dials
        dials += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr("shardns.exchange.connections.TcpLink", none_left)
        world.paced(300, 1.0, number)
    assert len(world.outcomes) == 300
    assert {outcome.failure for _, outcome, _ in world.outcomes} == {Failure.REFUSED_CONNECT}
    assert world.outcomes[0][1].detail == "dial tcp 192.0.2.53:53: connect: too many open files"
    assert dials < 20
    world.loop.run(3.0)
    world.ask("www.example.org")
    world.loop.run(1.0)
    assert world.outcomes[-1][1].wire


def test_more_waits_for_a_dial_than_one_connection_takes(world):
    """What waits for the first connection and is more than its ids allow is asked as others are answered."""
    for n in range(MAX_ASKS + 5000):
        world.ask(number(n))
    world.loop.run(DIAL_S + HOP_S / 2)
    assert max(len(link.mux) for link in world.links) <= MAX_ASKS
    world.loop.run(1.0)
    assert world.all_right()


def test_connection_dies_within_an_answer(world):
    """Half an answer is none: it and what stood behind it are asked again on another connection, each answered once."""
    world.ask("www.example.org")
    world.loop.run(0.01)
    first = world.links[0]
    world.wakes = lambda link, at: at if link is not first else at + 60
    for n in range(5):
        world.ask(number(n))
    world.loop.run(0.01)
    first.mux.feed(frame(answer(first.queue[0]))[:20])
    first.close()
    first.owner.link_ended(first, 0, world.loop.now)
    world.loop.run(0.5)
    assert world.all_right()
    assert len(world.seen) == 11


def test_counts_of_the_connection_cache_never_fall(world):
    """Who waits for a dial is counted when it is sent: until then it is neither a hit nor a miss, and no hit less."""
    (stats,) = world.stats.upstreams.values()
    seen = [(0, 0)]

    def look(*_: object) -> None:
        seen.append((stats.conn_cache_hits("tcp"), stats.conn_cache_misses("tcp")))

    world.ask(number(0))
    look()
    world.loop.run(DIAL_S + 3 * HOP_S)
    look()
    world.ask(number(1))
    world.loop.run(3 * HOP_S)
    look()
    for link in world.links:
        link.is_closed = True
        link.owner.link_ended(link, 0, world.loop.now)
    for n in range(5):
        world.ask(number(2 + n))
        look()
    world.loop.run(5)
    look()
    assert world.all_right()
    assert seen[-1] == (1, 6)
    assert seen == sorted(seen)
    assert [misses for _, misses in seen] == sorted(misses for _, misses in seen)


@pytest.mark.parametrize("code", [0, errno.ECONNRESET])
def test_connection_that_ends_before_it_answers_is_replaced_at_once(world, code):
    """A replica that is going away takes a connection and ends it; the query is asked on another one."""
    world.ask(number(0))
    world.loop.run(DIAL_S + HOP_S / 2)
    (first,) = world.links
    first.is_closed = True
    first.owner.link_ended(first, code, world.loop.now)
    world.loop.run(DIAL_S + 3 * HOP_S)
    assert world.all_right()
    assert len(world.links) == 2


def test_upstream_that_ends_every_connection_is_left_in_peace(world):
    """One that takes connections and ends each of them is dialled twice for a query, and then not for a while."""
    world.service = lambda _: 1.0
    for n in range(20):
        world.ask(number(n))
        world.loop.run(DIAL_S + HOP_S / 2)
        for link in world.links:
            if link.opened and not link.is_closed:
                link.is_closed = True
                link.owner.link_ended(link, 0, world.loop.now)
    assert len(world.links) <= 2 + 20 * (DIAL_S + HOP_S) / 0.05
