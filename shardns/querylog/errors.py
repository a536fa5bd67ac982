"""The `errors` plugin: one line per failed query, or a count of those that look alike (CoreDNS plugin/errors).

    [ERROR] plugin/errors: 2 www.example.org. A: dial tcp 192.0.2.53:53: i/o timeout
    [ERROR] plugin/errors: 214 errors like '^dial tcp .* i/o timeout$' occurred in last 30s

The first error that fits a pattern starts its period; the count is printed when the period is over or at shutdown.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from shardns import re2, units

_PREFIX = "plugin/errors: "


@dataclass(frozen=True, slots=True)
class Pattern:
    """One `consolidate` line: errors that match are counted, and reported once per period."""

    period_s: float  # how long errors are counted after the first
    pattern: str  # RE2; re2.parse(pattern).compiled matches it, unanchored
    level: str = "error"  # of the summary line: debug, info, warning or error
    show_first: bool = False  # the first error of a period is printed at once (CoreDNS 1.14.4)


def error_line(rcode: int, name: str, qtype: str, error: str, level: str = "error") -> str:
    """The line of one failed query; name with its trailing dot, in any case."""
    return f"[{level.upper()}] {_PREFIX}{rcode} {name.lower()} {qtype}: {error}"


def panic_lines(server: str, error: BaseException, *, stacktrace: bool) -> list[str]:
    """What is printed when our own code failed under a query: one line; with `stacktrace`, the stack below it.

    server is the listener's label ("dns://127.0.0.1:53").
    """
    first = f'[ERROR] Recovered from panic in server: "{server}" {type(error).__name__}: {error}'
    if not stacktrace:
        return [first]
    return [first, *"".join(traceback.format_exception(error)).splitlines()]


class ErrorLog:
    """The `errors` directive of one server block. Times are nanoseconds of one clock, the caller's."""

    def __init__(self, patterns: Sequence[Pattern] = (), *, debug: bool = False) -> None:
        """debug: whether [DEBUG] lines are printed at all (CoreDNS's debug plugin)."""
        self._patterns = patterns
        self._regexes = [re2.parse(pattern.pattern).compiled for pattern in patterns]
        self._counts = [0] * len(patterns)
        self._ends_ns = [0] * len(patterns)
        self._debug = debug
        self._stopped = False

    def note(self, now_ns: int, rcode: int, name: str, qtype: str, error: str) -> str | None:
        """The line to print for a query that failed now; None when it was only counted."""
        level = "error"
        for i, pattern in enumerate(self._patterns):
            if not self._regexes[i].search(error):
                continue
            if not self._stopped:
                self._counts[i] += 1
                if self._counts[i] == 1:
                    self._ends_ns[i] = now_ns + round(pattern.period_s * 1e9)
                if self._counts[i] > 1 or not pattern.show_first:
                    return None
                level = pattern.level
            break
        return error_line(rcode, name, qtype, error, level) if self._is_printed(level) else None

    def expire(self, now_ns: int) -> list[str]:
        """The lines of the periods that are over."""
        ended = [i for i, count in enumerate(self._counts) if count and self._ends_ns[i] <= now_ns]
        return [line for i in ended if (line := self._take(i))]

    def stop(self) -> list[str]:
        """The lines of all periods that run; from here on every error is printed by itself."""
        self._stopped = True
        return [line for i in range(len(self._counts)) if (line := self._take(i))]

    def _take(self, i: int) -> str | None:
        """The summary of pattern i, whose count starts anew; None if there is nothing (new) to say."""
        count, self._counts[i] = self._counts[i], 0
        pattern = self._patterns[i]
        if count <= pattern.show_first or not self._is_printed(pattern.level):
            return None
        period = units.duration_text(pattern.period_s)
        return f"[{pattern.level.upper()}] {_PREFIX}{count} errors like '{pattern.pattern}' occurred in last {period}"

    def _is_printed(self, level: str) -> bool:
        """Whether lines of this level are printed."""
        return level != "debug" or self._debug
