"""A client of a pool, and what tests of pools need around it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable

from shardns.dns import message, names
from shardns.exchange import Outcome, Pool, PoolConfig, PoolStats, Upstream
from tests.fakes.nameserver import ADDRESS, question_of


class Client:
    """Asks a pool and gathers the outcomes; checks that each query has exactly one."""

    def __init__(
        self, *ports: int, address: str = ADDRESS, config: PoolConfig | None = None, **settings: object
    ) -> None:
        upstreams = tuple(Upstream.at(address, port) for port in ports)
        self.config = config or PoolConfig(upstreams, **settings)  # type: ignore[arg-type]
        self.stats = PoolStats()
        self.pool = Pool(self.config, self.stats, loop=asyncio.get_running_loop())
        self.outcomes: list[tuple[bytes, Outcome, float]] = []
        self.times: list[tuple[float, float]] = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.pool.close()

    def upstream(self, index: int = 0):
        return self.stats.of(self.config.upstreams[index].label)

    def ask(self, name: str = "www.example.org.", *, over_tcp: bool = False) -> asyncio.Future[Outcome]:
        """Ask for an A record; the future holds the outcome."""
        query = message.query(names.to_wire(name), 1, id=0)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        begun = time.monotonic()

        def done(outcome: Outcome) -> None:
            assert not future.done(), "an ask has one outcome"
            ended = time.monotonic()
            self.outcomes.append((query, outcome, ended - begun))
            self.times.append((begun, ended))
            future.set_result(outcome)

        self.pool.ask(query, over_tcp, done)
        return future

    def durations(self) -> list[float]:
        return sorted(took for _, _, took in self.outcomes)

    def all_right(self) -> bool:
        """Whether every outcome is the answer to its own question."""
        return all(
            outcome.wire and question_of(outcome.wire) == question_of(query) for query, outcome, _ in self.outcomes
        )


def timed(test):
    """A busy machine can stall any process: a claim about time holds when one run in three shows it."""

    @functools.wraps(test)
    async def attempt(*args, **kwargs):
        for _ in range(2):
            with contextlib.suppress(AssertionError):
                return await test(*args, **kwargs)
        return await test(*args, **kwargs)

    return attempt


class Stalls:
    """Notes when this process did not get the processor, so that a test can leave out what was held up by that."""

    def __init__(self) -> None:
        self._stalls: list[tuple[float, float]] = []

    async def watch(self) -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.003)
            ended = time.monotonic()
            if ended - begun > 0.006:
                self._stalls.append((begun, ended))

    def between(self, begun: float, ended: float) -> bool:
        return any(begun < stall[1] and ended > stall[0] for stall in self._stalls)


async def until(is_so: Callable[[], bool], limit_s: float = 3.0) -> None:
    """Wait until something is so."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < limit_s
        await asyncio.sleep(0.01)


async def many(client: Client, count: int) -> list[Outcome]:
    """Ask that many questions in one turn of the loop."""
    return await asyncio.gather(*(client.ask(f"n{n}.example.org.") for n in range(count)))


async def paced(client: Client, per_second: int, seconds: float) -> list[Outcome]:
    """Ask at an even pace."""
    begun = time.monotonic()
    futures = []
    for n in range(int(per_second * seconds)):
        await asyncio.sleep(max(0.0, begun + n / per_second - time.monotonic()))
        futures.append(client.ask(f"n{n}.example.org."))
    return await asyncio.gather(*futures)
