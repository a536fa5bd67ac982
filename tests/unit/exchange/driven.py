"""A pool in a world of its own time: the loop, the clock and the upstream are driven by the test, nothing else moves.

What takes seconds is over at once and goes the same way each time, however busy the machine is. Only TCP is modelled:
a connection is its TcpMux, a dial takes DIAL_S, a message HOP_S.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import pytest

from shardns.dns import message, names
from shardns.exchange import Outcome, Pool, PoolConfig, PoolStats, Upstream
from shardns.exchange.tcp import TcpLink
from shardns.exchange.tcp_mux import TcpMux
from tests.fakes.nameserver import answer, name_of
from tests.unit.exchange.asks import frame

HOP_S = 0.0002
DIAL_S = 0.0005


class Handle:
    """A call that the loop has been asked for."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """As much of an event loop as the exchange uses, in virtual time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.complaints: list[dict[str, object]] = []
        self._calls: list[tuple[float, int, Handle]] = []
        self._number = count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, work: Callable[..., object], *args: object) -> Handle:
        handle = Handle(lambda: work(*args))
        heappush(self._calls, (self.now + delay_s, next(self._number), handle))
        return handle

    def call_soon(self, work: Callable[..., object], *args: object) -> Handle:
        return self.call_later(0.0, work, *args)

    def call_exception_handler(self, context: dict[str, object]) -> None:
        self.complaints.append(context)

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            at, _, handle = heappop(self._calls)
            self.now = max(self.now, at)
            if not handle.is_cancelled:
                handle.work()
        self.now = end


class Link(TcpLink):
    """A connection without a socket."""

    def __init__(self, world: World, owner, ids, now: float) -> None:
        self.owner = owner
        self.world = world
        self.label = "192.0.2.53:53"
        self.local = "192.0.2.1:4242"
        self.mux = TcpMux(ids)
        self.born = self.heard_at = self.used = now
        self.opened = self.retire_at = self.suspect_since = 0.0
        self.retiring = False
        self.taken = 0
        self.is_closed = False
        self.queue: deque[bytes] = deque()
        self.number = len(world.links)
        world.loop.call_later(DIAL_S, self.connect)

    @property
    def closed(self) -> bool:
        return self.is_closed

    @property
    def stuffed(self) -> bool:
        return False

    def close(self) -> None:
        self.is_closed = True

    def connect(self) -> None:
        if not self.is_closed:
            self.opened = self.used = self.heard_at = self.world.loop.now
            self.owner.link_opened(self, self.opened)

    def flush(self, now: float) -> int:
        out, self.mux.out[:] = list(self.mux.out), []
        self.used = now
        for each in out:
            self.world.loop.call_later(HOP_S, self.world.receive, self, each[2:])
        return len(out)

    def hear(self, wires: list[bytes]) -> None:
        """Bytes of the peer's, in one piece."""
        if not self.is_closed:
            found = self.mux.feed(b"".join(map(frame, wires)))
            self.heard_at = self.world.loop.now
            self.owner.link_answered(self, found, self.heard_at)


class World:
    """A pool and the one upstream it asks, which answers the queries of a connection in the order of coming.

    service     seconds that a query takes, by name; those of one connection take them one after the other
    wakes       (link, at) -> when the upstream, starved of CPU, really does what it would do at that time
    """

    def __init__(self, patch: pytest.MonkeyPatch, **settings: object) -> None:
        self.loop = Loop()
        self.links: list[Link] = []
        self.service: Callable[[str], float] = lambda _: 0.0
        self.wakes: Callable[[Link, float], float] = lambda _, at: at
        self.seen: list[str] = []
        self.most_open = 0
        self.outcomes: list[tuple[str, Outcome, float]] = []
        self.asked = 0
        patch.setattr("shardns.exchange.pool.monotonic", self.loop.time)
        patch.setattr("shardns.exchange.connections.TcpLink", self._dialled)
        config = PoolConfig((Upstream.at("192.0.2.53"),), force_tcp=True, **settings)  # type: ignore[arg-type]
        self.stats = PoolStats()
        self.pool = Pool(config, self.stats, loop=self.loop)  # type: ignore[arg-type]
        self.pool._dice.seed(1)

    def _dialled(self, owner, _loop, _family, _address, _label, ids, now: float) -> Link:
        link = Link(self, owner, ids, now)
        self.links.append(link)
        self.most_open = max(self.most_open, sum(not each.is_closed for each in self.links))
        return link

    def ask(self, name: str) -> None:
        """Ask for a name; what becomes of it is added to `outcomes`, with the seconds it took."""
        begun = self.loop.now
        self.asked += 1
        self.pool.ask(
            message.query(names.to_wire(name), 1, id=0),
            False,
            lambda outcome: self.outcomes.append((name, outcome, self.loop.now - begun)),
        )

    def paced(self, per_second: int, seconds: float, name: Callable[[int], str]) -> None:
        """Ask at an even pace."""
        for n in range(int(per_second * seconds)):
            self.ask(name(n))
            self.loop.run(1 / per_second)

    def receive(self, link: Link, query: bytes) -> None:
        """A query has come to the upstream."""
        self.seen.append(name_of(query))
        link.queue.append(query)
        if len(link.queue) == 1:
            self._begin(link)

    def _begin(self, link: Link) -> None:
        at = self.wakes(link, self.loop.now + self.service(name_of(link.queue[0])))
        self.loop.call_later(at - self.loop.now, self._finish, link)

    def _finish(self, link: Link) -> None:
        """Answer the first, and at once what takes no time behind it."""
        done = [link.queue.popleft()]
        while link.queue and not self.service(name_of(link.queue[0])):
            done.append(link.queue.popleft())
        self.loop.call_later(HOP_S, link.hear, [answer(query) for query in done])
        if link.queue:
            self._begin(link)

    def all_right(self) -> bool:
        """Whether each query has its answer."""
        return len(self.outcomes) == self.asked and all(outcome.wire for _, outcome, _ in self.outcomes)


def stopping(run_s: float, stop_s: float) -> Callable[[Link, float], float]:
    """An upstream that runs and stops in turns, with all its connections."""
    period_s = run_s + stop_s

    def wakes(_: Link, at: float) -> float:
        over = at % period_s
        return at if over < run_s else at - over + period_s

    return wakes
