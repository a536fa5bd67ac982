"""flights.py: who waits for whom, on the real core with a route that answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic_ns

import dns.flags
import dns.message
import dns.rcode
import pytest

from shardns.core import lib
from shardns.exchange import Failure, Outcome
from shardns.missline import Request
from shardns.upstream import flights as module
from shardns.upstream.flights import Flight, Flights
from shardns.upstream.local import Local
from tests.unit.core.test_answer import A, answer, query
from tests.unit.core.world import SECOND_NS, World

Done = Callable[[Outcome], None]


class FakeRoute:
    """Keeps what it is asked until the test answers it."""

    def __init__(self, *, stale: bool = False, patience_s: float = 0) -> None:
        self.stores: int | None = 7
        self.plugin = int(lib.SHD_BY_CACHE)
        self.stale = stale
        self.patience_s = patience_s
        self.asked: list[tuple[Flight, Done]] = []
        self.failures: list[Outcome] = []

    def ask(self, flight: Flight, done: Done) -> None:
        self.asked.append((flight, done))

    def stores_of(self, _name: str) -> int:
        return 7

    def failed(self, _flight: Flight, outcome: Outcome) -> None:
        self.failures.append(outcome)

    def land(self, *records: str, rcode: int = 0) -> None:
        """Answer the oldest open question."""
        flight, done = self.asked.pop(0)
        asked = dns.message.from_wire(flight.query)
        done(Outcome(answer(asked, *records, rcode=rcode).to_wire(), "192.0.2.53:53"))

    def fail(self, failure: Failure = Failure.TIMEOUT) -> None:
        """Fail the oldest open question."""
        self.asked.pop(0)[1](Outcome(None, "192.0.2.53:53", failure, "i/o timeout"))


class Line:
    """A worker's end of the miss line."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    def answer(self, _request: Request, wire: bytes) -> None:
        self.answers.append(wire)


class Stage:
    """Flights on a world whose clock is the real one, so that entries age as the code under test sees it."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop, route: FakeRoute) -> None:
        world.now_ns = monotonic_ns()
        self.world = world
        self.route = route
        self.hinfo: list[str] = []
        self.flights = Flights(
            world.finish, {0: route}, loop=loop, seen_hinfo=lambda flight: self.hinfo.append(flight.name)
        )

    def wire(self, asked: dns.message.Message, kind: int | None = None) -> Request:
        """A request of a TCP client."""
        return Request(1, kind or lib.SHD_ASK_CLIENT, 0, 0, bytes(16), monotonic_ns(), asked.to_wire())

    def store_stale(self) -> None:
        """Put an entry in that expired 10 s ago."""
        self.world.now_ns = monotonic_ns() - 70 * SECOND_NS
        self.world.store(query(), answer(query(), A))
        self.world.now_ns = monotonic_ns()


Scene = Callable[[Callable[["Stage"], Awaitable[None]], "FakeRoute"], None]


@pytest.fixture
def play(make_world: Callable[..., World]) -> Scene:
    """Runs a coroutine on a fresh stage."""

    def run(scene: Callable[[Stage], Awaitable[None]], route: FakeRoute, **rule: object) -> None:
        async def main() -> None:
            await scene(Stage(make_world(**rule), asyncio.get_running_loop(), route))

        asyncio.run(main())

    return run


async def turn() -> None:
    """Let the loop do what is due."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_many_asks_one_question(play):
    """Asks of both workers and of a TCP client for one name are one upstream query, and all are answered."""

    async def scene(stage: Stage) -> None:
        line = Line()
        for worker in (0, 1, 0, 1):
            stage.world.put_ask(query(), worker)
        stage.flights.take()
        stage.flights.take_wire(line, stage.wire(query("WWW.example.org.")))
        assert len(stage.route.asked) == 1
        stage.route.land(A)
        await turn()
        assert {stage.world.received().answer[0].ttl for _ in range(4)} == {60}
        assert str(dns.message.from_wire(line.answers[0]).question[0].name) == "WWW.example.org."
        assert (stage.flights.counts.started, stage.flights.counts.joined, stage.flights.counts.open) == (1, 4, 0)

    play(scene, FakeRoute())


@pytest.mark.parametrize("asks, pays", [(0, False), (1, False), (2, True)])
def test_when_to_look_again(play, asks, pays):
    """Where several asks came together more may follow at once; one that came alone is no reason to look again."""

    async def scene(stage: Stage) -> None:
        for number in range(asks):
            stage.world.put_ask(query(f"n{number}.example.org."))
        assert stage.flights.take() is pays

    play(scene, FakeRoute())


def test_no_answer_is_servfail(play):
    """A flight that fails is SERVFAIL to all who wait, and reported once."""

    async def scene(stage: Stage) -> None:
        stage.world.put_ask(query())
        stage.world.put_ask(query(), 1)
        stage.flights.take()
        stage.route.fail()
        await turn()
        assert [stage.world.received().rcode() for _ in range(2)] == [dns.rcode.SERVFAIL] * 2
        assert len(stage.route.failures) == 1

    play(scene, FakeRoute())


def test_over_the_limit_is_refused(play):
    """max_concurrent's rejection reaches the client as REFUSED."""

    async def scene(stage: Stage) -> None:
        stage.world.put_ask(query())
        stage.flights.take()
        stage.route.fail(Failure.MAX_CONCURRENT)
        await turn()
        assert stage.world.received().rcode() == dns.rcode.REFUSED

    play(scene, FakeRoute())


@pytest.mark.parametrize("lands", [False, True], ids=["no answer", "servfail"])
def test_stale_is_better_than_nothing(play, lands):
    """A client that waited for a fresh answer gets the stale one when there is none, with TTL 0."""

    async def scene(stage: Stage) -> None:
        stage.store_stale()
        stage.world.put_ask(query())
        stage.flights.take()
        if lands:
            stage.route.land(rcode=2)
        else:
            stage.route.fail()
        await turn()
        reply = stage.world.received()
        assert (reply.rcode(), reply.answer[0].ttl) == (0, 0)

    play(scene, FakeRoute(stale=True), stale_mode=lib.SHD_STALE_VERIFY, stale_s=100)


def test_a_failure_that_hides_nothing_is_a_miss(play):
    """With stale answers on and none there, the upstream's SERVFAIL goes out as it came, and is no hit of the cache."""

    async def scene(stage: Stage) -> None:
        stage.world.put_ask(query())
        stage.flights.take()
        stage.route.land(rcode=2)
        await turn()
        reply = stage.world.received()
        assert (reply.rcode(), bool(reply.flags & dns.flags.AA)) == (dns.rcode.SERVFAIL, False)
        row = stage.world.own.rows[3]
        assert (row.cache_misses, sum(row.cache_hits)) == (1, 0)

    play(scene, FakeRoute(stale=True), stale_mode=lib.SHD_STALE_VERIFY, stale_s=100)


def test_patience(play):
    """Clients of a name with a stale answer do not wait longer than their patience; later ones do not wait at all."""

    async def scene(stage: Stage) -> None:
        line = Line()
        stage.store_stale()
        stage.world.put_ask(query())
        stage.flights.take()
        await asyncio.sleep(0.02)
        assert stage.world.received().answer[0].ttl == 0
        stage.world.put_ask(query())
        stage.flights.take()
        await turn()
        assert stage.world.received().answer[0].ttl == 0
        stage.flights.take_wire(line, stage.wire(query()))
        assert len(line.answers) == 1
        assert len(stage.route.asked) == 1
        stage.route.land(A)
        assert stage.flights.counts.open == 0
        stage.world.put_ask(query())
        stage.flights.take()
        assert stage.world.received().answer[0].ttl == 60

    play(scene, FakeRoute(stale=True, patience_s=0.01), stale_mode=lib.SHD_STALE_VERIFY, stale_s=100)


def test_an_unreadable_answer_is_a_failure(play):
    """Bytes that are no answer to the question are SERVFAIL to the client and stored nowhere."""

    async def scene(stage: Stage) -> None:
        stage.world.put_ask(query())
        stage.flights.take()
        stage.route.asked.pop(0)[1](Outcome(b"\0" * 11, "192.0.2.53:53"))
        await turn()
        assert stage.world.received().rcode() == dns.rcode.SERVFAIL
        assert stage.route.failures[0].failure is Failure.MALFORMED

    play(scene, FakeRoute())


def test_refresh_of_a_tcp_client_wants_no_answer(play):
    """A stale hit over TCP refreshes the entry and nobody is answered."""

    async def scene(stage: Stage) -> None:
        line = Line()
        stage.store_stale()
        stage.flights.take_wire(line, stage.wire(query(), lib.SHD_ASK_REFRESH))
        stage.route.land(A)
        assert line.answers == []
        assert stage.world.answer(query())[0].action == lib.SHD_REPLY

    play(scene, FakeRoute(stale=True), stale_mode=lib.SHD_STALE_IMMEDIATE, stale_s=100)


def test_abandoned_flights_stay_open(play):
    """After abandon nothing is taken or answered: the asks are the successor's."""

    async def scene(stage: Stage) -> None:
        stage.world.put_ask(query())
        stage.flights.take()
        stage.flights.abandon()
        stage.route.land(A)
        await turn()
        assert stage.world.open_asks() == 1
        assert not stage.flights.take()

    play(scene, FakeRoute())


def test_hinfo_is_shown_to_the_loop_check(play):
    """Every HINFO ask is seen, also one that joins an open flight."""

    async def scene(stage: Stage) -> None:
        for _ in range(2):
            stage.world.put_ask(query("1.2.example.org.", "HINFO"))
        stage.flights.take()
        assert stage.hinfo == ["1.2.example.org."] * 2

    play(scene, FakeRoute())


def test_patience_is_below_a_stubs(play):
    """The default patience leaves a stub resolver's 5 s far away."""
    assert module.PATIENCE_S < 2


@pytest.mark.parametrize("is_kept", [True, False])
def test_answers_of_our_own(play, is_kept):
    """They are counted for who wrote them, and stored unless they must not be."""

    async def scene(stage: Stage) -> None:
        stage.world.put_ask(query())
        stage.flights.take()
        flight, done = stage.route.asked.pop()
        wire = answer(dns.message.from_wire(flight.query), A).to_wire()
        done(Local(wire, "", writer=int(lib.SHD_BY_HOSTS), is_kept=is_kept))
        await turn()
        assert stage.world.received().answer[0].ttl == 60
        assert stage.world.finish.own.rows[flight.row].responses[0][lib.SHD_BY_HOSTS] == 1
        stage.world.put_ask(query())
        stage.flights.take()
        assert len(stage.route.asked) == (0 if is_kept else 1)

    play(scene, FakeRoute())


def test_we_ask_ourselves(play):
    """A question of our own goes the way of a client's, and its answer comes to whoever asked; never at once."""

    async def scene(stage: Stage) -> None:
        got: list[bytes] = []
        stage.flights.ask_ourselves(query().to_wire(), 0, got.append)
        assert not stage.route.asked
        await turn()
        stage.route.land(A)
        await turn()
        assert [str(dns.message.from_wire(wire).answer[0][0]) for wire in got] == [A.split()[-1]]
        stage.flights.ask_ourselves(query().to_wire(), 0, got.append)
        await turn()
        assert (len(got), stage.route.asked) == (2, [])

    play(scene, FakeRoute())
