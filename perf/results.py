"""Results on paper: the printed table, and perf/results/<date>-<commit>.json with its report and plots."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from perf import machine, report
from perf.figures import Figure, Outcome
from perf.servers import ROOT


def verdict(figure: Figure, *, is_quick: bool) -> str:
    """aim, must, MISSED, or nothing for a figure that has no bound."""
    if is_quick:
        return "" if figure.quick is None else "ok" if figure.holds(figure.quick) else "LOST"
    if figure.must is None:
        return ""
    if not figure.holds(figure.must):
        return "MISSED"
    return "aim" if figure.aim is not None and figure.holds(figure.aim) else "must"


def print_table(found: Mapping[str, Outcome], *, is_quick: bool) -> list[str]:
    """Print every figure; the names of those outside their bounds, and of benchmarks that failed."""
    missed = []
    print(f"\n{'figure':<72} {'value':<20} {'rounds':<15} {'bound':>6} {'aim':>6}")
    for name, outcome in found.items():
        if outcome.failure:
            print(f"{name}: failed: {outcome.failure.splitlines()[0]}")
            missed.append(name)
        for figure in outcome.figures:
            bound = figure.quick if is_quick else figure.must
            said = verdict(figure, is_quick=is_quick)
            value = f"{figure.value:.3f} {figure.unit}"
            bounds = f"{_shown(bound):>6} {_shown(figure.aim):>6}"
            spread = "" if figure.low is None else f"{figure.low:.2f} to {figure.high:.2f}"
            print(f"{figure.what:<72} {value:<20} {spread:<15} {bounds}  {said} {figure.note}".rstrip())
            if said in {"LOST", "MISSED"}:
                missed.append(figure.name)
    print(f"missed: {', '.join(missed)}" if missed else "every bound was met")
    return missed


def _shown(bound: float | None) -> str:
    return "" if bound is None else f"{bound:g}"


def commit() -> str:
    """The short hash of the tree that is measured, with a plus when it was changed since; unknown outside of git."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    if not head:
        return "unknown"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "shardns", "supervisor"], check=False).returncode
    return head.strip() + ("+" if changed else "")


def write(directory: str, found: Mapping[str, Outcome]) -> Path:
    """The path of the JSON file; the report stands beside it."""
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    path = place / f"{today}-{commit()}.json"
    document = {
        "date": today,
        "commit": commit(),
        "machine": machine.text(),
        "benchmarks": {name: dataclasses.asdict(outcome) for name, outcome in found.items()},
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    report.write(path)
    return path
