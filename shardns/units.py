"""Numbers and durations as Go programs read and write them, which is what a Corefile is written for."""

from __future__ import annotations

import re
from typing import Final

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,  # micro sign
    "\u03bcs": 10**3,  # Greek letter mu
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_BARE = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_MAX_NS = 2**63 - 1  # Go counts durations in an int64 of nanoseconds: about 292 years
_LONGEST = 64  # characters of a number; longer ones cannot be meant
_FINEST: Final[int] = 10**_LONGEST  # parts of a nanosecond that sums are exact to: as many digits as a number can have


def duration_s(text: str) -> float:
    """Seconds that a Go duration stands for: "1h30m", "1.5s", "-2ms"; a bare number is seconds.

    Raises ValueError for anything else, and for what Go's 64 bits of nanoseconds do not hold.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    total = _duration(rest) if 0 < len(rest) <= _LONGEST else None
    if total is None:
        raise ValueError(f"{text!r} is not a duration such as 30s, 1m30s or 500ms")
    if total > _MAX_NS * _FINEST:
        raise ValueError(f"{text!r} is longer than 292 years")
    return sign * total / (10**9 * _FINEST)


def _duration(text: str) -> int | None:
    """The sum of the parts of a duration without sign, in nanoseconds / _FINEST; None if it is none."""
    if _BARE.fullmatch(text):
        return _finest(text, "s")
    total = at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            return None
        total += _finest(*part.groups())
        at = part.end()
    return total


def _finest(number: str, unit: str) -> int:
    """Number ("1.5", "1." or ".5") times unit, in nanoseconds / _FINEST."""
    whole, _, rest = number.partition(".")
    finer: int = 10 ** (_LONGEST - len(rest))
    return int(whole + rest) * _UNITS_NS[unit] * finer


def duration_text(seconds: float) -> str:
    """The duration as Go prints it: "0s", "500ms", "1m30s", "1h0m0s"; precise to the nanosecond."""
    ns = round(seconds * 10**9)
    if ns == 0:
        return "0s"
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns < 10**9:
        for unit, size in (("ns", 1), ("\u00b5s", 10**3), ("ms", 10**6)):
            if ns < size * 1000:
                return f"{sign}{_decimal(ns, size)}{unit}"
    minutes, rest = divmod(ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(rest, 10**9)}s"


def _decimal(value: int, size: int) -> str:
    """Value divided by size (a power of ten), without trailing zeros."""
    whole, rest = divmod(value, size)
    digits = str(rest).zfill(len(str(size)) - 1).rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def integer(text: str) -> int:
    """The decimal number, with an optional sign (Go strconv.Atoi). Raises ValueError for others and beyond 64 bits."""
    if not _INTEGER.fullmatch(text) or len(text) > _LONGEST:
        raise ValueError(f"{text!r} is not a whole number")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{text!r} does not fit 64 bits")
    return value


def port(text: str, *, least: int = 1) -> int:
    """A port number from least to 65535. Raises ValueError."""
    value = integer(text)
    if not text.isdigit() or not least <= value <= 0xFFFF:
        raise ValueError(f"{text!r} is not a port from {least} to 65535")
    return value
