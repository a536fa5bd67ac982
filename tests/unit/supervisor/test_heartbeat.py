"""Who is stuck, by heartbeats as numbers."""

from __future__ import annotations

import pytest

from supervisor.heartbeat import LOOK_S, Watch


@pytest.fixture
def watch() -> Watch[str]:
    """Ten seconds of patience."""
    return Watch(10.0)


def test_beating_is_well(watch):
    """A heartbeat that moves is never stuck, however long."""
    assert not any(watch.look({"a": (n, n)}, float(n)) for n in range(100))


def test_standing_still_is_stuck(watch):
    """A heartbeat that did not move for ten seconds of looking is stuck, and is named at every later look."""
    found = [now for now in range(20) if watch.look({"a": (7,), "b": (now,)}, float(now)) == ["a"]]
    assert found == list(range(10, 20))


def test_one_of_two_beats_is_enough(watch):
    """A worker whose event loop turns and whose C thread does not is stuck."""
    found = [now for now in range(20) if watch.look({"a": (7, now)}, float(now))]
    assert found[0] == 10


def test_a_move_starts_the_count_again(watch):
    """Slow is not stuck."""
    for now in range(40):
        assert watch.look({"a": (now // 9,)}, float(now)) == []


def test_time_that_nobody_saw_does_not_count(watch):
    """A frozen container or a starved supervisor that wakes after an hour has seen two intervals of it."""
    watch.look({"a": (7,)}, 0.0)
    assert watch.look({"a": (7,)}, 3600.0) == []
    looks = 1
    while not watch.look({"a": (7,)}, 3600.0 + looks * LOOK_S):
        looks += 1
    assert looks == 8


def test_who_is_gone_is_forgotten(watch):
    """A successor begins anew."""
    for now in range(9):
        watch.look({"a": (7,)}, float(now))
    watch.look({}, 9.0)
    assert watch.look({"a": (7,)}, 10.0) == []
