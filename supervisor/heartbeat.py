"""Which children are alive and stuck. Pure: heartbeats and `now` come from the caller.

A child is stuck when one of its heartbeats did not move while we watched for the time-out. What counts is the time that
we saw, not the clock's: each look adds at most twice the interval of looking. So a container that was frozen, or a
supervisor that had no CPU itself under a small quota, kills nobody when it wakes.

A child that gets no CPU looks like one that is stuck, so the time-out is a long one. Only one that is stopped by a
signal surely wants none: it is stuck after STOPPED_S.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Who = TypeVar("Who")

LOOK_S = 1.0  # how often the caller looks
STOPPED_S = 3.0  # without a heartbeat, and stopped at every look


@dataclass(slots=True)
class _Watched:
    """One child: its beats as last seen, and for how long each has stood still."""

    beats: tuple[int, ...]
    still_s: list[float]
    stopped_s: float  # how long it has been stopped, with all beats still
    seen_at: float


class Watch(Generic[Who]):
    """Remembers heartbeats between looks."""

    def __init__(self, timeout_s: float, is_stopped: Callable[[Who], bool]) -> None:
        """Nobody is known yet.

        timeout_s   how long a heartbeat may stand still
        is_stopped  whether a child is stopped by a signal; asked only where no heartbeat has moved
        """
        self.timeout_s = timeout_s
        self._is_stopped = is_stopped
        self._watched: dict[Who, _Watched] = {}

    def look(self, beats: Mapping[Who, tuple[int, ...]], now: float) -> list[Who]:
        """Those that are stuck. beats: the heartbeats of every child that serves; who is missing is forgotten."""
        stuck: list[Who] = []
        for gone in self._watched.keys() - beats.keys():
            del self._watched[gone]
        for who, seen in beats.items():
            known = self._watched.get(who)
            if known is None or len(known.beats) != len(seen):
                self._watched[who] = _Watched(seen, [0.0] * len(seen), 0.0, now)
                continue
            passed_s = min(now - known.seen_at, 2 * LOOK_S)
            pairs = zip(known.still_s, known.beats, seen, strict=True)
            known.still_s = [still_s + passed_s if before == after else 0.0 for still_s, before, after in pairs]
            if all(known.still_s) and self._is_stopped(who):
                known.stopped_s += min(passed_s, LOOK_S)
            else:
                known.stopped_s = 0.0
            known.beats, known.seen_at = seen, now
            if max(known.still_s, default=0.0) >= self.timeout_s or known.stopped_s >= STOPPED_S:
                stuck.append(who)
        return stuck
