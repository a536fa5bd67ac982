import asyncio
from collections.abc import Callable

import pytest

from shardns.exchange.turn import Turn


class Loop:
    """Counts what it is asked to call."""

    def __init__(self) -> None:
        self.called: list[Callable[[], None]] = []

    def call_soon(self, work: Callable[[], None]) -> None:
        self.called.append(work)


@pytest.fixture
def loop() -> Loop:
    """The loop that the turn would use."""
    return Loop()


@pytest.fixture
def turn(loop: Loop) -> Turn:
    """Nothing put off yet."""
    return Turn(loop)  # type: ignore[arg-type]


def test_done_in_end_without_the_loop(loop, turn):
    """Between begin() and end() the loop is asked for nothing; end() does it all, and what that puts off."""
    done: list[int] = []

    def first() -> None:
        done.append(1)
        turn.put_off(lambda: done.append(3))

    turn.begin()
    turn.put_off(first)
    turn.put_off(lambda: done.append(2))
    assert not done
    turn.end()
    assert done == [1, 2, 3]
    assert not loop.called


def test_done_by_the_loop_elsewhere(loop, turn):
    """Outside the loop is asked once for all; what end() did meanwhile is not done again."""
    done: list[int] = []
    turn.put_off(lambda: done.append(1))
    turn.put_off(lambda: done.append(2))
    assert len(loop.called) == 1
    turn.begin()
    turn.end()
    assert done == [1, 2]
    turn.put_off(lambda: done.append(3))
    assert len(loop.called) == 1
    loop.called[0]()
    assert done == [1, 2, 3]
    turn.put_off(lambda: done.append(4))
    assert len(loop.called) == 2


def test_one_that_raises_costs_no_other(loop, turn):
    """The rest is done by the loop."""
    done: list[int] = []
    turn.begin()
    turn.put_off(lambda: 1 / 0)
    turn.put_off(lambda: done.append(1))
    with pytest.raises(ZeroDivisionError):
        turn.end()
    loop.called[0]()
    assert done == [1]


def test_on_a_real_loop():
    """What is put off is done before a later call."""

    async def main() -> list[int]:
        done: list[int] = []
        turn = Turn(asyncio.get_running_loop())
        turn.put_off(lambda: done.append(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return done

    assert asyncio.run(main()) == [1]
