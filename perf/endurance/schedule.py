"""What happens when. Pure: the same seed and length give the same schedule."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

CALM_S = 5.0  # at the beginning: what is measured there is what the end is compared with
END_S = 15.0  # of calm at the end: whatever ran long has come to its end by then
GAP_S = (1.5, 5.0)
OUTAGE_S = (2.0, 7.0)
SPARED = 0.35  # of the run, its last part: only the first worker is killed, so that the others can grow old, and grow


class What(StrEnum):
    """Kinds of event, in the words of the printed schedule."""

    KILL_WORKER = "a worker is killed"
    KILL_FIRST = "the first worker is killed"
    KILL_UPSTREAM = "the upstream process is killed"
    KILL_ALL = "both workers and the upstream process are killed at once"
    RELOAD = "another server block changes"
    RELOAD_COLD = "the loaded server block changes, and starts cold"
    RELOAD_BROKEN = "the Corefile is broken"
    SILENT = "the nameserver falls silent"
    GONE = "the nameserver is gone"
    BACK = "the nameserver is back"


SHARES = {
    What.KILL_WORKER: 30,
    What.KILL_UPSTREAM: 20,
    What.KILL_ALL: 5,
    What.RELOAD: 12,
    What.RELOAD_COLD: 8,
    What.RELOAD_BROKEN: 5,
    What.SILENT: 10,
    What.GONE: 10,
}
OUTAGES = {What.SILENT, What.GONE}
ENDINGS = {What.KILL_WORKER, What.KILL_UPSTREAM, What.KILL_ALL, What.RELOAD, What.RELOAD_COLD}


@dataclass(frozen=True, order=True)
class Event:
    """One thing that happens."""

    at_s: float  # since the load began
    what: What

    def __str__(self) -> str:
        return f"{self.at_s:7.1f} s  {self.what}"


def spared_at(seconds: float) -> float:
    """When the last part of a run begins, in which the upstream process and all workers but the first live on."""
    return seconds * (1 - SPARED)


def schedule(seed: int, seconds: float) -> list[Event]:
    """Events in the order of their times, all between CALM_S and seconds - END_S.

    Outages do not overlap, and nothing starts cold in one or right before it: with neither an answer in the cache nor
    a nameserver, SERVFAIL would be right for names that the load takes for cached.

    The run begins with the longest silence, and so does its last part: thousands of queries are under way then, and a
    process keeps the memory that they took. What it takes more later it has lost.
    """
    return sorted(_events(random.Random(seed), spared_at(seconds), seconds - END_S))


def _events(chance: random.Random, spared_s: float, until_s: float) -> Iterator[Event]:
    at_s, back_s, cold_s = CALM_S, 0.0, 0.0
    silences = [CALM_S, spared_s]  # when the next longest one is due
    while at_s < until_s:
        (what,) = chance.choices(list(SHARES), list(SHARES.values()))
        lasts_s = chance.uniform(*OUTAGE_S)
        is_out = at_s < back_s + 1
        if silences and at_s >= silences[0] and not is_out and at_s >= cold_s:
            what, lasts_s = What.SILENT, OUTAGE_S[1]
            del silences[0]
        if what in OUTAGES and (is_out or at_s < cold_s or at_s + lasts_s > until_s):
            what = What.KILL_WORKER
        elif what is What.RELOAD_COLD and is_out:
            what = What.RELOAD
        if what in ENDINGS and at_s >= spared_s:
            what = What.KILL_FIRST
        yield Event(at_s, what)
        if what in OUTAGES:
            back_s = at_s + lasts_s
            yield Event(back_s, What.BACK)
        if what is What.RELOAD_COLD:
            cold_s = at_s + 2 * GAP_S[1]  # until it serves, and until every name was asked for again
        at_s += chance.uniform(*GAP_S)
