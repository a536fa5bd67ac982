"""Which processes should live, and what to do to get there: a state machine without processes, sockets or a clock.

Inputs are what happened (a child said a word, a child ended, an operator wants a reload or a stop, time passed), each
with `now` in seconds of any steady clock. Outputs are Actions, which the loop carries out in their order.

A generation is one set of children, an upstream process and N workers, on one Plan. While nothing changes there is
one, the current. A reload makes a second, the coming; once it serves, the first becomes the leaving one.

    LOADING      the coming children load; the current ones serve
       | all READY
    HANDOVER     the current upstream process is told STOP, and its end awaited (SIGKILL when it is late)
       | it is gone
    TAKING       the coming children are told GO, upstream process first
       | all SERVING
    RETIRING     the coming generation is the current one; the old workers are told DRAIN, and their end awaited
       | all gone
    NONE

Whatever goes wrong up to and including TAKING leads to ABANDONING: the coming children are killed, and the current
upstream process is started again if it had been stopped. The current workers never stopped.

Rules that hold in every order of events (tests/unit/supervisor/test_generation_model.py):
1. Never do two upstream processes live that were both told GO: the table has one writer.
2. Never do two workers live in one slot. So a reload begins only when the one before it is over.
3. A worker that serves is sent away only when another serves its sockets, when it is stuck, or when all is to end.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from shardns.role import EXIT_BOOT, Word
from supervisor.actions import UPSTREAM, Abandon, Action, Adopt, Child, Exit, Kill, Retire, Say, Spawn, ended, named


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    A child needs 10 ms of CPU to be ready and as much again to serve: a hundredth of a core is enough for all of them.
    """

    ready_s: float = 10.0  # from fork to READY
    go_s: float = 10.0  # from GO to SERVING
    stop_s: float = 2.0  # from STOP to the end
    drain_s: float = 6.0  # from DRAIN to the end: CoreDNS gives TCP clients 5 s, and one for leaving
    abort_s: float = 1.0  # from SIGABRT (which prints where it was stuck) to SIGKILL
    stable_s: float = 30.0  # a child that lived this long did not crash in a loop
    backoff_s: float = 0.25  # before the second restart in a row; doubles
    backoff_max_s: float = 1.0  # a stub resolver waits 5 s, and a start costs 20 ms of CPU
    boot_tries: int = 5  # crashes in a row of one seat that end the first start


class Phase(enum.Enum):
    """Of the process in a seat."""

    EMPTY = enum.auto()  # none
    LOADING = enum.auto()  # forked
    READY = enum.auto()
    GOING = enum.auto()  # told GO
    SERVING = enum.auto()
    ENDING = enum.auto()  # told STOP or DRAIN, or sent a signal


class Mode(enum.Enum):
    """Of the whole."""

    STARTING = enum.auto()  # until every child of the first generation serves
    STEADY = enum.auto()
    LAMEDUCK = enum.auto()  # asked to stop; serving on until the time is over
    DRAINING = enum.auto()  # workers told DRAIN
    CLOSING = enum.auto()  # upstream process told DRAIN
    ENDED = enum.auto()


class Change(enum.Enum):
    """Of a reload; see the drawing at the top."""

    NONE = enum.auto()
    LOADING = enum.auto()
    HANDOVER = enum.auto()
    TAKING = enum.auto()
    ABANDONING = enum.auto()
    RETIRING = enum.auto()


_UNDECIDED = (Change.LOADING, Change.HANDOVER, Change.TAKING)
_ALIVE = (Mode.STARTING, Mode.STEADY, Mode.LAMEDUCK)


@dataclass(slots=True)
class Seat:
    """A place for one process of a generation, and the process in it."""

    phase: Phase = Phase.EMPTY
    child: Child | None = None
    told_go: bool = False
    wanted: bool = True  # EMPTY: another is to be started (at due)
    asked: bool = False  # ENDING because we wanted it gone, so its end is no crash
    since: float = 0.0  # when the child was forked
    due: float | None = None  # when the phase has lasted too long; EMPTY: when to start the next
    crashes: int = 0  # in a row


@dataclass(slots=True)
class Crew:
    """The seats of one generation."""

    number: int
    seats: dict[int, Seat] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, workers: int) -> Crew:
        """With every seat empty; the upstream process's comes first."""
        return cls(number, {seat: Seat() for seat in (UPSTREAM, *range(workers))})

    def every(self, phase: Phase) -> bool:
        """Whether all seats are in phase."""
        return all(seat.phase is phase for seat in self.seats.values())


class Machine:
    """See the top of the file. Every method that takes `now` returns what to do, in order.

    workers  in each generation
    limits   how long things may take
    jitter   returns a number from 0 to 1; spreads restarts
    """

    def __init__(self, workers: int, limits: Limits | None = None, jitter: Callable[[], float] = lambda: 1.0) -> None:
        """Nothing runs until start()."""
        self.limits = limits or Limits()
        self.mode = Mode.STARTING
        self.change = Change.NONE
        self.current = Crew.of(0, workers)
        self.coming: Crew | None = None
        self.leaving: Crew | None = None
        self._workers = workers
        self._jitter = jitter
        self._lives = 0
        self._reason = ""
        self._lameduck_until = 0.0
        self._out: list[Action] = []

    # ------------------------------------------------------------------------------------------------------- inputs

    def start(self, now: float) -> list[Action]:
        """The first start."""
        return self._settle(now)

    def said(self, child: Child, word: Word, now: float, text: str = "") -> list[Action]:
        """A child said READY, SERVING or FATAL. Words of a child that is no longer wanted change nothing."""
        found = self._find(child)
        if found is None:
            return []
        crew, seat = found
        if word is Word.READY and seat.phase is Phase.LOADING:
            seat.phase, seat.due = Phase.READY, None
        elif word is Word.SERVING and seat.phase is Phase.GOING:
            seat.phase, seat.due = Phase.SERVING, None
        elif word is Word.FATAL:
            self._fatal(crew, text or "a child asked for the end")
        return self._settle(now)

    def exited(self, child: Child, code: int, now: float) -> list[Action]:
        """A child is gone. code is its exit code, or minus the signal that ended it (as subprocess has it)."""
        found = self._find(child)
        if found is None:
            return []
        crew, seat = found
        lived_s, asked = now - seat.since, seat.asked
        seat.phase, seat.child, seat.told_go, seat.asked, seat.due = Phase.EMPTY, None, False, False, None
        if crew is self.coming and self.change in _UNDECIDED:
            self._abandon(f"{named(child)} {ended(code)}")
        elif crew is self.current and not asked:
            self._crashed(seat, child, code, lived_s, now)
        return self._settle(now)

    def stuck(self, child: Child, now: float) -> list[Action]:
        """A child that serves shows no sign of life: end it with a trace of where it stands, and start another."""
        found = self._find(child)
        if found is None or found[1].phase is not Phase.SERVING:
            return []
        crew, seat = found
        if crew is self.coming and self.change in _UNDECIDED:
            self._abandon(f"{named(child)} is stuck")
        else:
            self._strike(seat, now)
        return self._settle(now)

    @property
    def can_reload(self) -> bool:
        """Whether reload() may be called: a start, a stop or another reload must be over first."""
        return self.mode is Mode.STEADY and self.change is Change.NONE

    @property
    def next_generation(self) -> int:
        """The number that reload() will give to the coming generation."""
        return self.current.number + 1

    def reload(self, now: float) -> list[Action]:
        """Replace all children by ones on a new Plan."""
        assert self.can_reload
        self.coming = Crew.of(self.next_generation, self._workers)
        self.change = Change.LOADING
        return self._settle(now)

    def stop(self, now: float, lameduck_s: float) -> list[Action]:
        """Serve for lameduck_s more, then finish what is in hand and end with exit code 0."""
        if self.mode not in (Mode.STARTING, Mode.STEADY):
            return []
        self._lameduck_until = now + (lameduck_s if self.mode is Mode.STEADY else 0.0)
        self.mode = Mode.LAMEDUCK
        if self.change in _UNDECIDED:
            self._abandon("the program was asked to stop")
        return self._settle(now)

    def quit(self, code: int, reason: str = "") -> list[Action]:
        """End everything at once."""
        self._end(code, reason)
        return self._take()

    def tick(self, now: float) -> list[Action]:
        """Time has passed; to be called at wake_at() or earlier."""
        for crew in self._crews():
            for seat in crew.seats.values():
                if seat.child is not None and seat.due is not None and seat.due <= now:
                    self._late(crew, seat, seat.child, now)
        return self._settle(now)

    def wake_at(self) -> float | None:
        """When tick() has something to do; None when only an event can change anything."""
        times = [
            seat.due
            for crew in self._crews()
            for place, seat in crew.seats.items()
            if seat.due is not None and (seat.phase is not Phase.EMPTY or self._may_start(crew, place))
        ]
        if self.mode is Mode.LAMEDUCK:
            times.append(self._lameduck_until)
        return min(times, default=None)

    def is_dismissed(self, child: Child) -> bool:
        """Whether child was told to go, or is being killed because it is not wanted any more."""
        found = self._find(child)
        return found is None or found[1].asked

    def serving(self) -> Iterator[Child]:
        """Every child whose heartbeat must go on."""
        for crew in self._crews():
            for seat in crew.seats.values():
                if seat.phase is Phase.SERVING and seat.child is not None:
                    yield seat.child

    # ---------------------------------------------------------------------------------------------- what goes wrong

    def _crashed(self, seat: Seat, child: Child, code: int, lived_s: float, now: float) -> None:
        """A child of the current generation ended on its own: at once the first time, then later and later."""
        seat.crashes = 1 if lived_s >= self.limits.stable_s else seat.crashes + 1
        if self.mode is Mode.STARTING and (code == EXIT_BOOT or seat.crashes >= self.limits.boot_tries):
            self._end(1, f"{named(child)} {ended(code)} and cannot be started")
            return
        if seat.crashes > 1:
            delay_s = min(self.limits.backoff_max_s, self.limits.backoff_s * 2.0 ** min(seat.crashes - 2, 16))
            seat.due = now + delay_s * (0.5 + 0.5 * self._jitter())

    def _late(self, crew: Crew, seat: Seat, child: Child, now: float) -> None:
        """What a child was asked to do has taken too long."""
        if seat.phase is Phase.ENDING:
            self._out.append(Kill(child, signal.SIGKILL))
            seat.due = now + self.limits.abort_s
        elif crew is self.coming and self.change in _UNDECIDED:
            self._abandon(f"{named(child)} did not become ready in time")
        else:
            self._strike(seat, now)

    def _strike(self, seat: Seat, now: float) -> None:
        """End a child that does not do its work; it will be replaced."""
        assert seat.child is not None
        self._out.append(Kill(seat.child, signal.SIGABRT))
        seat.phase, seat.due = Phase.ENDING, now + self.limits.abort_s

    def _abandon(self, reason: str) -> None:
        """The coming generation will not be: the current one stays."""
        assert self.coming is not None
        self.change, self._reason = Change.ABANDONING, reason
        self._kill_all(self.coming)

    def _fatal(self, crew: Crew, reason: str) -> None:
        """A child found that the configuration must not be served (loop)."""
        if crew is self.coming and self.change in _UNDECIDED:
            self._abandon(reason)
        elif crew is self.current:
            self._end(1, reason)

    def _kill_all(self, crew: Crew) -> None:
        """SIGKILL to every child of crew, and no new ones."""
        for seat in crew.seats.values():
            seat.wanted = False
            if seat.child is not None:
                self._out.append(Kill(seat.child, signal.SIGKILL))
                seat.phase, seat.due, seat.asked = Phase.ENDING, None, True

    def _end(self, code: int, reason: str) -> None:
        """SIGKILL to all, and out."""
        if self.mode is Mode.ENDED:
            return
        for crew in self._crews():
            self._kill_all(crew)
        self.mode = Mode.ENDED
        self._out.append(Exit(code, reason))

    # ------------------------------------------------------------------------------------------- what can be done now

    def _settle(self, now: float) -> list[Action]:
        """Take every step that is open, until none is."""
        while self.mode is not Mode.ENDED and (self._step_mode(now) or self._step_change(now)):
            pass
        if self.mode is not Mode.ENDED:
            for crew in self._crews():
                for place, seat in crew.seats.items():
                    self._step_seat(crew, place, seat, now)
        return self._take()

    def _step_mode(self, now: float) -> bool:
        """Whether the whole went one step on."""
        if self.mode is Mode.STARTING and self.current.every(Phase.SERVING):
            self.mode = Mode.STEADY
            self._out.append(Adopt(self.current.number))
        elif self.mode is Mode.LAMEDUCK and self._lameduck_until <= now:
            self.mode = Mode.DRAINING
            self._send_away(workers=True, now=now)
        elif self.mode is Mode.DRAINING and not any(self._occupied(workers=True)):
            self.mode = Mode.CLOSING
            self._send_away(workers=False, now=now)
        elif self.mode is Mode.CLOSING and not any(self._occupied(workers=False)):
            self.mode = Mode.ENDED
            self._out.append(Exit(0))
        else:
            return False
        return True

    def _step_change(self, now: float) -> bool:
        """Whether a reload went one step on."""
        coming, leaving = self.coming, self.leaving
        if self.change is Change.LOADING and coming is not None and coming.every(Phase.READY):
            self.change = Change.HANDOVER
            self._dismiss(self.current.seats[UPSTREAM], Word.STOP, self.limits.stop_s, now)
        elif self.change is Change.HANDOVER and self.current.seats[UPSTREAM].phase is Phase.EMPTY:
            self.change = Change.TAKING
        elif self.change is Change.TAKING and coming is not None and coming.every(Phase.SERVING):
            self._promote(coming, now)
        elif self.change is Change.ABANDONING and coming is not None and coming.every(Phase.EMPTY):
            self._out.append(Abandon(coming.number, self._reason))
            self.coming, self.change = None, Change.NONE
        elif self.change is Change.RETIRING and leaving is not None and leaving.every(Phase.EMPTY):
            self._out.append(Retire(leaving.number))
            self.leaving, self.change = None, Change.NONE
        else:
            return False
        return True

    def _promote(self, coming: Crew, now: float) -> None:
        """The coming generation serves: the workers of the old one may go."""
        self.leaving, self.current, self.coming = self.current, coming, None
        self.change = Change.RETIRING
        self._out.append(Adopt(coming.number))
        for seat in self.leaving.seats.values():
            self._dismiss(seat, Word.DRAIN, self.limits.drain_s, now)
            seat.wanted = False

    def _step_seat(self, crew: Crew, place: int, seat: Seat, now: float) -> None:
        """Start what is missing; say GO where that is allowed."""
        if seat.phase is Phase.EMPTY and seat.wanted and self._may_start(crew, place):
            if seat.due is None or seat.due <= now:
                self._lives += 1
                seat.child = Child(crew.number, place, self._lives)
                seat.phase, seat.since, seat.due = Phase.LOADING, now, now + self.limits.ready_s
                self._out.append(Spawn(seat.child, seat.crashes))
        elif seat.phase is Phase.READY and seat.child is not None and self._may_go(crew, place):
            seat.phase, seat.told_go, seat.due = Phase.GOING, True, now + self.limits.go_s
            self._out.append(Say(seat.child, Word.GO))

    def _may_start(self, crew: Crew, place: int) -> bool:
        """Whether an empty seat is to be filled."""
        if crew is self.coming:
            return self.change is Change.LOADING
        if crew is not self.current:
            return False
        if place == UPSTREAM:
            return self.change not in (Change.HANDOVER, Change.TAKING) and (
                self.mode in _ALIVE or self.mode is Mode.DRAINING
            )
        return self.mode in _ALIVE

    def _may_go(self, crew: Crew, place: int) -> bool:
        """Whether a child that is ready may start its service."""
        if crew is self.coming:
            if self.change is not Change.TAKING:
                return False
        elif crew is not self.current or (place == UPSTREAM and self.change in (Change.HANDOVER, Change.TAKING)):
            return False
        return place != UPSTREAM or not any(other.seats[UPSTREAM].told_go for other in self._crews())

    # ---------------------------------------------------------------------------------------------------- small parts

    def _send_away(self, *, workers: bool, now: float) -> None:
        """DRAIN to all workers, or to the upstream process."""
        for crew in self._crews():
            for place, seat in crew.seats.items():
                if (place != UPSTREAM) is workers:
                    self._dismiss(seat, Word.DRAIN, self.limits.drain_s, now)
                    seat.wanted = False

    def _dismiss(self, seat: Seat, word: Word, patience_s: float, now: float) -> None:
        """Ask a child that was told GO to leave; SIGKILL to one that has nothing in hand yet."""
        if seat.phase is Phase.EMPTY:
            seat.due = None
        elif seat.child is not None and seat.phase is not Phase.ENDING:
            if seat.phase in (Phase.GOING, Phase.SERVING):
                self._out.append(Say(seat.child, word))
                seat.due = now + patience_s
            else:
                self._out.append(Kill(seat.child, signal.SIGKILL))
                seat.due = now + self.limits.abort_s
            seat.phase, seat.asked = Phase.ENDING, True

    def _occupied(self, *, workers: bool) -> Iterator[bool]:
        """Whether there is a process in it, for every seat of workers, or of upstream processes."""
        for crew in self._crews():
            for place, seat in crew.seats.items():
                if (place != UPSTREAM) is workers:
                    yield seat.phase is not Phase.EMPTY

    def _crews(self) -> list[Crew]:
        """Those that exist, the current first."""
        return [crew for crew in (self.current, self.coming, self.leaving) if crew is not None]

    def _find(self, child: Child) -> tuple[Crew, Seat] | None:
        """Where child sits; None when it was given up."""
        for crew in self._crews():
            seat = crew.seats.get(child.seat)
            if seat is not None and seat.child == child:
                return crew, seat
        return None

    def _take(self) -> list[Action]:
        """What has gathered in _out."""
        out, self._out = self._out, []
        return out
