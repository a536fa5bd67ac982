"""Who is stuck, by heartbeats as numbers."""

from __future__ import annotations

import pytest

from supervisor.heartbeat import LOOK_S, Watch


@pytest.fixture
def stopped() -> set[str]:
    """Who is stopped by a signal."""
    return set()


@pytest.fixture
def watch(stopped: set[str]) -> Watch[str]:
    """Ten seconds of patience."""
    return Watch(10.0, stopped.__contains__)


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


def test_a_stopped_process_is_given_up_sooner(watch, stopped):
    """Who is stopped wants no CPU, so it cannot be short of it: three seconds are enough."""
    stopped.add("a")
    found = [now for now in range(20) if watch.look({"a": (7, 7), "b": (7, 7)}, float(now)) == ["a"]]
    assert found == list(range(3, 10))


def test_who_only_waits_for_cpu_has_the_whole_time(watch, stopped):
    """Nine seconds without a beat under a small quota, stopped for a moment in them, are not the end."""
    watch.look({"a": (7,)}, 0.0)
    for now in range(1, 10):
        stopped ^= {"a"} if now in (4, 6) else set()
        assert watch.look({"a": (7,)}, float(now)) == []
    assert watch.look({"a": (7,)}, 10.0) == ["a"]


def test_a_process_that_is_stopped_by_turns_is_well(watch, stopped):
    """What limits CPU by SIGSTOP and SIGCONT leaves some: the heartbeat moves."""
    stopped.add("a")
    assert not any(watch.look({"a": (now // 2,)}, float(now)) for now in range(40))


def test_time_that_nobody_saw_does_not_count_for_a_stopped_process(watch, stopped):
    """Three looks there must be, however far apart: what thawed just now has had no time to beat."""
    stopped.add("a")
    found = [now for now in range(0, 600, 100) if watch.look({"a": (7,)}, float(now))]
    assert found[0] == 300


def test_a_short_time_out_is_kept(stopped):
    """--heartbeat-timeout 2s is two seconds for everybody."""
    watch = Watch(2.0, stopped.__contains__)
    stopped.add("a")
    assert [now for now in range(4) if watch.look({"a": (7,)}, float(now))] == [2, 3]
