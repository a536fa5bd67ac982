"""The state machine, one situation at a time; test_generation_model.py plays all of them at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable

import pytest

from shardns.role import EXIT_BOOT, Word
from supervisor.actions import UPSTREAM, Abandon, Action, Adopt, Child, Exit, Kill, Retire, Say, Spawn
from supervisor.generation import Change, Limits, Machine, Mode

LIMITS = Limits()


class Stage:
    """A machine with a list of the children it has started and everything it has asked for."""

    def __init__(self, workers: int = 2) -> None:
        self.now = 100.0
        self.machine = Machine(workers, LIMITS)
        self.done: list[Action] = []
        self.children: dict[tuple[int, int], Child] = {}
        self.do(self.machine.start(self.now))

    def do(self, actions: Iterable[Action]) -> list[Action]:
        """Note what the machine wants."""
        new = list(actions)
        for action in new:
            if isinstance(action, Spawn):
                self.children[action.child.generation, action.child.seat] = action.child
        self.done += new
        return new

    def child(self, seat: int, generation: int = 0) -> Child:
        """The newest child of a seat."""
        return self.children[generation, seat]

    def say(self, word: Word, generation: int = 0, seats: Iterable[int] = (UPSTREAM, 0, 1)) -> list[Action]:
        """All of these children say word."""
        return [a for seat in seats for a in self.do(self.machine.said(self.child(seat, generation), word, self.now))]

    def exit(self, seat: int, code: int = 0, generation: int = 0) -> list[Action]:
        """A child ends."""
        return self.do(self.machine.exited(self.child(seat, generation), code, self.now))

    def wait(self, seconds: float) -> list[Action]:
        """Time passes at once."""
        self.now += seconds
        return self.do(self.machine.tick(self.now))

    def reload(self) -> list[Action]:
        """An operator wants a reload."""
        return self.do(self.machine.reload(self.now))


@pytest.fixture
def starting() -> Stage:
    """Just started."""
    return Stage()


@pytest.fixture
def stage(starting: Stage) -> Stage:
    """Serving."""
    starting.say(Word.READY)
    starting.say(Word.SERVING)
    starting.done.clear()
    return starting


def test_start_forks_everything_and_goes_when_ready(starting):
    """The first start forks the upstream process and every worker, and says GO to each as soon as it is READY."""
    assert starting.done == [Spawn(Child(0, UPSTREAM, 1), 0), Spawn(Child(0, 0, 2), 0), Spawn(Child(0, 1, 3), 0)]
    assert starting.say(Word.READY, seats=[1]) == [Say(starting.child(1), Word.GO)]
    assert starting.say(Word.READY, seats=[UPSTREAM, 0]) == [
        Say(starting.child(UPSTREAM), Word.GO),
        Say(starting.child(0), Word.GO),
    ]
    assert starting.say(Word.SERVING) == [Adopt(0)]
    assert starting.machine.mode is Mode.STEADY


def test_boot_failure_stops_the_start(starting):
    """A child that exits with EXIT_BOOT during the first start ends the program with exit code 1 and a reason."""
    actions = starting.exit(0, EXIT_BOOT)
    assert actions[-1] == Exit(1, "worker 0 exited with code 3 and cannot be started")
    assert Kill(starting.child(UPSTREAM), signal.SIGKILL) in actions


def test_crashing_start_gives_up(starting):
    """A child that is killed again and again before the first service ends the program, not the first time."""
    for _ in range(LIMITS.boot_tries - 1):
        assert not any(isinstance(action, Exit) for action in starting.exit(1, -11))
        starting.wait(LIMITS.backoff_max_s)
    actions = starting.exit(1, -11)
    assert actions[-1] == Exit(1, "worker 1 was ended by SIGSEGV and cannot be started")


def test_crash_is_restarted_at_once_then_later(stage):
    """The first crash restarts at once; crashes in a row wait twice as long each time, up to a limit."""
    assert stage.exit(0, -9) == [Spawn(stage.child(0), 1)]
    delays = []
    for _ in range(8):
        assert stage.exit(0, -9) == []
        due = stage.machine.wake_at()
        assert due is not None
        delays.append(due - stage.now)
        assert len(stage.wait(delays[-1])) == 1
    assert delays == pytest.approx([0.25, 0.5, 1, 1, 1, 1, 1, 1])


def test_jitter_halves_the_delay_at_most():
    """Restarts of several nodes are spread: a delay is between half and all of what it would be."""
    machine = Machine(1, LIMITS, jitter=lambda: 0.0)
    children = [action.child for action in machine.start(0.0) if isinstance(action, Spawn)]
    for child in children:
        machine.said(child, Word.READY, 0.0)
        machine.said(child, Word.SERVING, 0.0)
    (again,) = machine.exited(children[1], -9, 1.0)
    assert isinstance(again, Spawn)
    machine.exited(again.child, -9, 1.0)
    assert machine.wake_at() == pytest.approx(1.0 + 0.125)


def test_long_life_forgives_earlier_crashes(stage):
    """A child that lived for half a minute is restarted at once, whatever happened before."""
    for _ in range(3):
        stage.exit(0, -9)
        stage.wait(LIMITS.backoff_max_s)
    stage.say(Word.READY, seats=[0])
    stage.say(Word.SERVING, seats=[0])
    stage.wait(LIMITS.stable_s)
    assert stage.exit(0, -9) == [Spawn(stage.child(0), 1)]


def test_upstream_restart_leaves_the_workers_alone(stage):
    """When the upstream process dies another is forked and told GO; the workers hear nothing."""
    assert stage.exit(UPSTREAM, -9) == [Spawn(stage.child(UPSTREAM), 1)]
    assert stage.say(Word.READY, seats=[UPSTREAM]) == [Say(stage.child(UPSTREAM), Word.GO)]


def test_stuck_child_is_aborted_then_killed(stage):
    """A child without heartbeat gets SIGABRT, SIGKILL a second later, and a successor when it is gone."""
    child = stage.child(1)
    assert stage.do(stage.machine.stuck(child, stage.now)) == [Kill(child, signal.SIGABRT)]
    assert stage.do(stage.machine.stuck(child, stage.now)) == []
    assert stage.wait(LIMITS.abort_s) == [Kill(child, signal.SIGKILL)]
    assert stage.exit(1, -9) == [Spawn(stage.child(1), 1)]


def test_child_that_never_gets_ready_is_replaced(stage):
    """A restarted child that says nothing for ready_s is ended like a stuck one."""
    stage.exit(0, -9)
    child = stage.child(0)
    assert stage.wait(LIMITS.ready_s) == [Kill(child, signal.SIGABRT)]


def test_reload_order(stage):
    """A reload loads the new generation, swaps the upstream processes, serves, and only then drains the old workers."""
    assert [type(action) for action in stage.reload()] == [Spawn, Spawn, Spawn]
    assert stage.say(Word.READY, 1, [0, 1]) == []
    assert stage.say(Word.READY, 1, [UPSTREAM]) == [Say(stage.child(UPSTREAM), Word.STOP)]
    assert stage.exit(UPSTREAM) == [Say(stage.child(seat, 1), Word.GO) for seat in (UPSTREAM, 0, 1)]
    assert stage.say(Word.SERVING, 1, [UPSTREAM, 0]) == []
    assert stage.say(Word.SERVING, 1, [1]) == [Adopt(1), *(Say(stage.child(seat), Word.DRAIN) for seat in (0, 1))]
    assert not stage.machine.can_reload
    assert stage.exit(0) == []
    assert stage.exit(1) == [Retire(0)]
    assert stage.machine.can_reload


def test_old_upstream_that_does_not_stop_is_killed(stage):
    """STOP is asked for stop_s, then it is SIGKILL: the new upstream process cannot wait for ever."""
    stage.reload()
    stage.say(Word.READY, 1)
    assert stage.wait(LIMITS.stop_s) == [Kill(stage.child(UPSTREAM), signal.SIGKILL)]
    assert Say(stage.child(UPSTREAM, 1), Word.GO) in stage.exit(UPSTREAM, -9)


def test_old_worker_that_does_not_drain_is_killed(stage):
    """Old workers have drain_s to see their TCP clients off."""
    stage.reload()
    stage.say(Word.READY, 1)
    stage.exit(UPSTREAM)
    stage.say(Word.SERVING, 1)
    assert stage.wait(LIMITS.drain_s) == [Kill(stage.child(seat), signal.SIGKILL) for seat in (0, 1)]


def _exit_while_loading(stage: Stage) -> list[Action]:
    return stage.exit(0, EXIT_BOOT, 1)


def _late_while_loading(stage: Stage) -> list[Action]:
    return stage.wait(LIMITS.ready_s)


def _fatal_while_loading(stage: Stage) -> list[Action]:
    return stage.do(stage.machine.said(stage.child(UPSTREAM, 1), Word.FATAL, stage.now, "loop"))


@pytest.mark.parametrize(
    "fail, reason",
    [
        (_exit_while_loading, "worker 0 exited with code 3"),
        (_late_while_loading, "the upstream process did not become ready in time"),
        (_fatal_while_loading, "loop"),
    ],
)
def test_failed_load_leaves_the_old_generation_alone(stage, fail: Callable[[Stage], list[Action]], reason):
    """A new generation that does not load is killed; the old one hears nothing of it."""
    stage.reload()
    actions = fail(stage)
    assert {type(action) for action in actions} == {Kill}
    assert {action.child.generation for action in actions if isinstance(action, Kill)} == {1}
    for seat in (UPSTREAM, 0, 1):
        if stage.machine.change is Change.ABANDONING:
            stage.exit(seat, -9, 1)
    assert stage.done[-1] == Abandon(1, reason)
    assert stage.machine.can_reload


def test_new_upstream_that_dies_after_go_brings_the_old_one_back(stage):
    """When the new upstream process dies before it serves, the old Plan gets its upstream process back."""
    stage.reload()
    stage.say(Word.READY, 1)
    stage.exit(UPSTREAM)
    assert stage.exit(UPSTREAM, -11, 1) == [
        Kill(stage.child(0, 1), signal.SIGKILL),
        Kill(stage.child(1, 1), signal.SIGKILL),
        Spawn(stage.child(UPSTREAM), 0),
    ]
    assert stage.say(Word.READY, seats=[UPSTREAM]) == [Say(stage.child(UPSTREAM), Word.GO)]


def test_old_upstream_waits_for_the_end_of_the_new_one(stage):
    """After a failed handover GO waits until no other upstream process that was told GO lives."""
    stage.reload()
    stage.say(Word.READY, 1)
    stage.exit(UPSTREAM)
    stage.exit(0, -11, 1)
    assert stage.say(Word.READY, seats=[UPSTREAM]) == []
    assert stage.exit(UPSTREAM, -9, 1) == [Say(stage.child(UPSTREAM), Word.GO)]


def test_crash_of_an_old_worker_during_reload_is_mended(stage):
    """Old workers are restarted as ever until the new ones serve."""
    stage.reload()
    assert stage.exit(0, -9) == [Spawn(stage.child(0), 1)]
    stage.say(Word.READY, 1)
    assert stage.say(Word.READY, seats=[0]) == [Say(stage.child(0), Word.GO)]


def test_crash_of_the_old_upstream_during_handover_starts_the_new_one(stage):
    """It does not matter how the old upstream process ends; no other of its generation is started."""
    stage.reload()
    stage.exit(UPSTREAM, -9)
    assert Kill(stage.child(UPSTREAM), signal.SIGKILL) in stage.say(Word.READY, 1)
    assert stage.exit(UPSTREAM, -9)[0] == Say(stage.child(UPSTREAM, 1), Word.GO)


def test_stop_serves_through_lameduck_then_drains(stage):
    """SIGTERM: nothing for lameduck_s, then the workers drain, then the upstream process, then exit code 0."""
    assert stage.do(stage.machine.stop(stage.now, 3.0)) == []
    assert stage.machine.wake_at() == stage.now + 3.0
    assert stage.exit(0, -9) == [Spawn(stage.child(0), 1)]
    stage.say(Word.READY, seats=[0])
    stage.say(Word.SERVING, seats=[0])
    assert stage.wait(3.0) == [Say(stage.child(0), Word.DRAIN), Say(stage.child(1), Word.DRAIN)]
    assert stage.exit(0) == []
    assert stage.exit(1) == [Say(stage.child(UPSTREAM), Word.DRAIN)]
    assert stage.exit(UPSTREAM) == [Exit(0)]


def test_stop_does_not_wait_for_ever(stage):
    """Children that do not drain are killed, workers first."""
    stage.do(stage.machine.stop(stage.now, 0.0))
    assert [type(action) for action in stage.wait(LIMITS.drain_s)] == [Kill, Kill]
    stage.exit(0, -9)
    stage.exit(1, -9)
    assert stage.wait(LIMITS.drain_s) == [Kill(stage.child(UPSTREAM), signal.SIGKILL)]


def test_upstream_is_restarted_while_workers_drain(stage):
    """Misses that are in hand at SIGTERM are answered, even if the upstream process dies on them."""
    stage.do(stage.machine.stop(stage.now, 0.0))
    assert stage.exit(UPSTREAM, -9) == [Spawn(stage.child(UPSTREAM), 1)]
    assert stage.say(Word.READY, seats=[UPSTREAM]) == [Say(stage.child(UPSTREAM), Word.GO)]


def test_stop_during_a_reload_abandons_it(stage):
    """A stop in the middle of a reload kills the new generation and drains the old one."""
    stage.reload()
    actions = stage.do(stage.machine.stop(stage.now, 0.0))
    assert [action for action in actions if isinstance(action, Kill)] == [
        Kill(stage.child(seat, 1), signal.SIGKILL) for seat in (UPSTREAM, 0, 1)
    ]
    for generation, seat in ((1, UPSTREAM), (1, 0), (1, 1), (0, 0), (0, 1), (0, UPSTREAM)):
        stage.exit(seat, 0, generation)
    assert stage.done[-1] == Exit(0)


def test_stop_before_the_first_service(starting):
    """A stop while children still load kills them and exits 0."""
    starting.do(starting.machine.stop(starting.now, 5.0))
    for seat in (0, 1, UPSTREAM):
        starting.exit(seat, -9)
    assert starting.done[-1] == Exit(0)


def test_fatal_word_ends_the_program(stage):
    """A forwarding loop found by the serving generation ends everything with exit code 1."""
    actions = stage.do(stage.machine.said(stage.child(UPSTREAM), Word.FATAL, stage.now, "Loop detected"))
    assert actions[-1] == Exit(1, "Loop detected")


def test_quit_is_immediate(stage):
    """SIGQUIT kills every child and exits at once."""
    actions = stage.do(stage.machine.quit(0))
    assert actions == [*(Kill(stage.child(seat), signal.SIGKILL) for seat in (UPSTREAM, 0, 1)), Exit(0)]
    assert stage.exit(0, -9) == []


def test_words_of_the_forgotten_change_nothing(stage):
    """A late word or a second end of a child that is no longer known is ignored."""
    old = stage.child(0)
    stage.exit(0, -9)
    assert stage.machine.said(old, Word.SERVING, stage.now) == []
    assert stage.machine.exited(old, 0, stage.now) == []
    assert stage.machine.stuck(old, stage.now) == []
