"""Which children are alive and stuck. Pure: heartbeats and `now` come from the caller.

A child is stuck when one of its heartbeats did not move while we watched for the time-out. What counts is the time that
we saw, not the clock's: each look adds at most twice the interval of looking. So a container that was frozen, or a
supervisor that had no CPU itself under a small quota, kills nobody when it wakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Who = TypeVar("Who")

LOOK_S = 1.0  # how often the caller looks


@dataclass(slots=True)
class _Watched:
    """One child: its beats as last seen, and for how long each has stood still."""

    beats: tuple[int, ...]
    still_s: list[float]
    seen_at: float


class Watch(Generic[Who]):
    """Remembers heartbeats between looks."""

    def __init__(self, timeout_s: float) -> None:
        """timeout_s: how long a heartbeat may stand still."""
        self.timeout_s = timeout_s
        self._watched: dict[Who, _Watched] = {}

    def look(self, beats: Mapping[Who, tuple[int, ...]], now: float) -> list[Who]:
        """Those that are stuck. beats: the heartbeats of every child that serves; who is missing is forgotten."""
        stuck: list[Who] = []
        for gone in self._watched.keys() - beats.keys():
            del self._watched[gone]
        for who, seen in beats.items():
            known = self._watched.get(who)
            if known is None or len(known.beats) != len(seen):
                self._watched[who] = _Watched(seen, [0.0] * len(seen), now)
                continue
            passed_s = min(now - known.seen_at, 2 * LOOK_S)
            pairs = zip(known.still_s, known.beats, seen, strict=True)
            known.still_s = [still_s + passed_s if before == after else 0.0 for still_s, before, after in pairs]
            known.beats, known.seen_at = seen, now
            if max(known.still_s, default=0.0) >= self.timeout_s:
                stuck.append(who)
        return stuck
