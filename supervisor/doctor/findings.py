"""One line of the report: what was looked at, how it is, what was found and what to do about it. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

State = Literal["ok", "warn", "fail", "skip"]
STATES: Final[tuple[State, ...]] = get_args(State)
_COLOURS: Final[dict[State, str]] = {"ok": "32", "warn": "33", "fail": "1;31", "skip": "2"}
_CHECK_WIDTH: Final = 11


@dataclass(frozen=True, slots=True)
class Finding:
    """A judgement. skip: it could not be looked at, or does not apply here; found says which."""

    check: str  # one of examine.PARTS
    state: State
    found: str
    remedy: str = ""  # what to do; empty where there is nothing to do


def ok(check: str, found: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, remedy: str = "") -> Finding:
    """DNS is served, and an operator should know."""
    return Finding(check, "warn", found, remedy)


def fail(check: str, found: str, remedy: str) -> Finding:
    """DNS is not served as it should be."""
    return Finding(check, "fail", found, remedy)


def skip(check: str, found: str, remedy: str = "") -> Finding:
    """Not looked at."""
    return Finding(check, "skip", found, remedy)


def exit_code(findings: Iterable[Finding]) -> int:
    """1 when something fails, else 0."""
    return int(any(finding.state == "fail" for finding in findings))


def line(finding: Finding, *, is_coloured: bool) -> str:
    """For a person, in one line."""
    state = f"{finding.state:<5}"
    if is_coloured:
        state = f"\033[{_COLOURS[finding.state]}m{state}\033[0m"
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return " ".join(f"{state} {finding.check:<{_CHECK_WIDTH}} {finding.found}{remedy}".splitlines())


def as_json(finding: Finding) -> str:
    """For a program, in one line."""
    return json.dumps(dataclasses.asdict(finding))


def summary(findings: Iterable[Finding]) -> str:
    """How many of each: 21 ok, 1 warn, 0 fail, 3 skip."""
    counts = Counter(finding.state for finding in findings)
    return ", ".join(f"{counts[state]} {state}" for state in STATES)
