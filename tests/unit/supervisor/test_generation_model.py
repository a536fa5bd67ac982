"""The state machine against a world of processes that do what they like, in every order."""

from __future__ import annotations

from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shardns.role import EXIT_BOOT, Word
from supervisor.actions import UPSTREAM, Abandon, Action, Adopt, Child, Exit, Kill, Retire, Say, Spawn
from supervisor.generation import Change, Limits, Machine, Mode

LIMITS = Limits()
CODES = st.sampled_from([0, 1, EXIT_BOOT, -6, -9, -11])


class World(RuleBasedStateMachine):
    """What a kernel and some children would be. Every child here was forked and is not reaped."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.workers = 2
        self.machine = Machine(self.workers, LIMITS)
        self.alive: dict[Child, str] = {}  # child -> loading, ready, going, serving
        self.leaving: dict[Child, str] = {}  # child -> why it goes: word or signal
        self.done_for: set[Child] = set()  # crashed or stuck on their own
        self.exit: Exit | None = None
        self.asked_to_stop = False
        self.started = False
        self.do(self.machine.start(self.now))

    # ---- carrying out

    def do(self, actions: Iterable[Action]) -> None:
        """As the loop would."""
        for action in actions:
            assert self.exit is None, "nothing may follow Exit"
            match action:
                case Spawn(child, _):
                    self._forked(child)
                case Say(child, Word.GO):
                    assert self.alive[child] == "ready"
                    self.alive[child] = "going"
                    self.one_writer()
                case Say(child, word):
                    self._goes(child, word.name)
                case Kill(child, number):
                    self._goes(child, number.name)
                case Adopt(generation):
                    self.started = True
                    assert self._serves(generation, range(self.workers))
                case Retire(generation) | Abandon(generation, _):
                    assert not [child for child in self.alive if child.generation == generation]
                case Exit():
                    self.exit = action

    def _forked(self, child: Child) -> None:
        """Rule 2: nobody else lives in the same slot (generations of one parity share theirs)."""
        assert all(
            (other.generation - child.generation) % 2 or other.seat != child.seat or child.seat == UPSTREAM
            for other in self.alive
        )
        assert all((o.generation, o.seat) != (child.generation, child.seat) for o in self.alive)
        self.alive[child] = "loading"

    def _goes(self, child: Child, why: str) -> None:
        """Rule 3: who serves is sent away only for a reason."""
        if child not in self.alive:
            return
        served = self.alive[child] == "serving" and child.seat != UPSTREAM and child not in self.leaving
        self.leaving.setdefault(child, why)
        ends = self.asked_to_stop or self.machine.mode is Mode.ENDED
        is_old = self.machine.current.number > child.generation
        is_new = self.machine.current.number < child.generation
        if served and not ends and child not in self.done_for and not is_new:
            assert is_old
            assert self._serves(self.machine.current.number, [child.seat])

    def _serves(self, generation: int, seats: Iterable[int]) -> bool:
        """Whether these workers of generation serve, but for those that have crashed meanwhile."""
        serving = {
            child.seat for child, state in self.alive.items() if child.generation == generation and state == "serving"
        }
        crashed = {child.seat for child in self.done_for if child.generation == generation}
        return all(seat in serving or seat in crashed for seat in seats)

    def pick(self, number: int, states: Iterable[str]) -> Child | None:
        """One of the living children in one of these states."""
        those = sorted(child for child, state in self.alive.items() if state in states)
        return those[number % len(those)] if those else None

    # ---- what can happen

    running = precondition(lambda self: self.exit is None)

    @running
    @rule(number=st.integers(0, 50))
    def ready(self, number):
        """A child has loaded."""
        child = self.pick(number, ["loading"])
        if child is not None:
            self.alive[child] = "ready"
            self.do(self.machine.said(child, Word.READY, self.now))

    @running
    @rule(number=st.integers(0, 50))
    def serving(self, number):
        """A child has begun to serve."""
        child = self.pick(number, ["going"])
        if child is not None:
            self.alive[child] = "serving"
            self.do(self.machine.said(child, Word.SERVING, self.now))

    @running
    @rule()
    def all_well(self):
        """Everybody does his duty for a while."""
        for _ in range(12):
            self.tell(sorted(self.alive), "loading", "ready", Word.READY)
            self.tell(sorted(self.alive), "going", "serving", Word.SERVING)
            for child in sorted(self.leaving):
                if self.exit is None and child in self.alive:
                    self.end(child, 0)

    @running
    @rule(number=st.integers(0, 50), code=CODES)
    def crash(self, number, code):
        """Any child ends."""
        child = self.pick(number, ["loading", "ready", "going", "serving"])
        if child is not None:
            self.done_for.add(child)
            self.end(child, code)

    def end(self, child: Child, code: int) -> None:
        """Out of the world, then told to the machine."""
        del self.alive[child]
        self.leaving.pop(child, None)
        self.do(self.machine.exited(child, code, self.now))

    @running
    @rule(number=st.integers(0, 50))
    def stuck(self, number):
        """A child's heartbeat has stopped."""
        child = self.pick(number, ["serving"])
        if child is not None and child not in self.leaving:
            self.done_for.add(child)
            self.do(self.machine.stuck(child, self.now))

    @running
    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 2.5, 7.0, 40.0]))
    def wait(self, seconds):
        """Time passes; who is late counts as stuck."""
        self.now += seconds
        late = [child for child, state in self.alive.items() if state in ("loading", "going")]
        self.done_for.update(late)
        self.do(self.machine.tick(self.now))

    @precondition(lambda self: self.exit is None and self.machine.can_reload)
    @rule()
    def reload(self):
        """An operator has changed the Corefile."""
        self.do(self.machine.reload(self.now))

    @precondition(lambda self: self.exit is None and self.machine.can_reload)
    @rule(steps=st.integers(1, 4), number=st.integers(0, 50), code=CODES)
    def reload_up_to(self, steps, number, code):
        """A reload that goes well for some steps, so that what follows meets it there; after the third it may fail."""
        self.reload()
        number_of_old = self.machine.current.number
        coming = [child for child in sorted(self.alive) if child.generation == number_of_old + 1]
        if steps > 1:
            self.tell(coming, "loading", "ready", Word.READY)
        if steps > 2:
            for child in [c for c in sorted(self.leaving) if c.seat == UPSTREAM and c.generation == number_of_old]:
                self.end(child, 0)
        if steps == 3:
            self.crash(number, code)
        if steps == 4:
            self.tell(coming, "going", "serving", Word.SERVING)

    def tell(self, children: Iterable[Child], before: str, after: str, word: Word) -> None:
        """All of these that are in one state go on to the next, and say so."""
        for child in children:
            if self.exit is None and self.alive.get(child) == before and child not in self.leaving:
                self.alive[child] = after
                self.do(self.machine.said(child, word, self.now))

    @running
    @rule(lameduck=st.sampled_from([0.0, 3.0]), sure=st.integers(0, 9))
    def stop(self, lameduck, sure):
        """An operator wants an end; not in every run."""
        if sure == 0:
            self.asked_to_stop = True
            self.do(self.machine.stop(self.now, lameduck))

    @precondition(lambda self: self.exit is not None)
    @rule()
    def nothing_more(self):
        """After the end nothing is asked for."""
        assert self.machine.tick(self.now) == []
        assert self.machine.stop(self.now, 0.0) == []

    # ---- what always holds

    @invariant()
    def one_writer(self):
        """Rule 1: at most one upstream process that was told GO lives."""
        writers = [c for c, state in self.alive.items() if c.seat == UPSTREAM and state in ("going", "serving")]
        assert len(writers) <= 1

    @invariant()
    def an_end_has_a_cause(self):
        """The machine ends only when asked, or when the first start cannot succeed."""
        if self.exit is not None and self.exit.code == 0:
            assert self.asked_to_stop
            assert not self.alive
        elif self.exit is not None:
            assert not self.started

    @invariant()
    def time_is_asked_for(self):
        """Whenever somebody is missing or must go, there is an event to wait for: a living child or a time."""
        if self.exit is None:
            assert self.alive or self.machine.wake_at() is not None

    def teardown(self):
        """From wherever it is, good behaviour leads back to full service within seconds (or to the end, if asked)."""
        for _ in range(40):
            if self.exit is None:
                self.all_well()
            if self.exit is None:
                self.now += 0.5
                self.do(self.machine.tick(self.now))
        if self.asked_to_stop and self.exit is None:
            raise AssertionError("asked to stop, and did not")
        if self.exit is None:
            assert self.machine.mode is Mode.STEADY
            assert self.machine.change is Change.NONE
            assert sorted((child.seat, state) for child, state in self.alive.items()) == [
                (UPSTREAM, "serving"),
                (0, "serving"),
                (1, "serving"),
            ]


World.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestWorld = pytest.mark.slow(World.TestCase)
