"""A Markdown report and its plots out of one result file. Plots are SVG, written by hand: nothing to install."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perf import plot
from perf.figures import NOISY

# What json.loads gives has no types of its own.
Document = dict[str, Any]
BUSY = 0.1  # processors taken by others: more is remarked upon


def write(path: Path) -> Path:
    """Write the report of the result file beside it; its path."""
    document = json.loads(path.read_text())
    pictures = draw(document, path)
    target = path.with_suffix(".md")
    target.write_text(text(document, pictures))
    return target


def text(document: Document, pictures: Mapping[str, str]) -> str:
    """The whole report. pictures: title to file name."""
    machine = document["machine"]
    lines = [
        f"# Measured on {document['date']}, commit {document['commit']}",
        "",
        (
            f"{machine['cpu']}, {machine['cpus']} processors (the server's core: {machine['siblings']}), "
            f"Linux {machine['kernel']}, Python {machine['python']}; load {machine['load1']} at the end."
        ),
        "",
        *_quiet(document["benchmarks"]),
        "",
        "Rounds: the least and the most of those that the value is the median of.",
        "",
        "| figure | value | rounds | must | aim | |",
        "|---|---|---|---|---|---|",
    ]
    for outcome in document["benchmarks"].values():
        lines += [_row(figure) for figure in outcome["figures"]]
    lines += [
        f"\n**{name} failed**: {one['failure']}" for name, one in document["benchmarks"].items() if one["failure"]
    ]
    for name, outcome in document["benchmarks"].items():
        if outcome["table"]:
            lines += ["", f"## {name}", "", *_table(outcome["table"])]
    lines += [line for title, file in pictures.items() for line in ("", f"![{title}]({file})")]
    return "\n".join(lines) + "\n"


def _quiet(benchmarks: Mapping[str, Document]) -> list[str]:
    """What is to be thought of the figures of this machine."""
    busy = {name: one["others"] for name, one in benchmarks.items() if one["others"] >= BUSY}
    noisy = [
        figure["name"]
        for one in benchmarks.values()
        for figure in one["figures"]
        if figure["low"] is not None and figure["high"] - figure["low"] > NOISY * figure["value"]
    ]
    said = ["The machine was quiet."] if not busy and not noisy else []
    if busy:
        said.append(
            f"Others took processors meanwhile: {', '.join(f'{name} {took:g}' for name, took in busy.items())}."
        )
    if noisy:
        said.append(f"The rounds lie far apart: {', '.join(noisy)}.")
    return said


def _row(figure: Document) -> str:
    def shown(bound: float | None) -> str:
        return "" if bound is None else f"{bound:g} {figure['unit']}"

    def holds(bound: float | None) -> bool:
        return bound is not None and (figure["value"] >= bound if figure["is_floor"] else figure["value"] <= bound)

    said = (
        ""
        if figure["must"] is None
        else "aim"
        if holds(figure["aim"])
        else "must"
        if holds(figure["must"])
        else "**missed**"
    )
    value = f"{figure['value']:.3g} {figure['unit']}"
    rounds = "" if figure["low"] is None else f"{figure['low']:.3g} to {figure['high']:.3g}"
    note = f" ({figure['note']})" if figure["note"] else ""
    return (
        f"| {figure['what']}{note} | {value} | {rounds} | {shown(figure['must'])} | {shown(figure['aim'])} | {said} |"
    )


def _table(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[column]:,.4g}" if column in row else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def draw(document: Document, path: Path) -> dict[str, str]:
    """Title to file name of every plot that the document has the numbers for."""
    benchmarks = document["benchmarks"]
    pictures: dict[str, str] = {}

    def save(title: str, suffix: str, svg: str) -> None:
        file = path.with_name(f"{path.stem}-{suffix}.svg")
        file.write_text(svg)
        pictures[title] = file.name

    for name in ("hits", "misses", "tcp"):
        if name in benchmarks and benchmarks[name]["table"]:
            values = {server: next(iter(row.values())) for server, row in benchmarks[name]["table"].items()}
            title = f"CPU per query: {name}"
            save(title, name, plot.bars(title, "microseconds of CPU per query", values))
    for name in ("latency", "latency-under-misses"):
        if name in benchmarks and benchmarks[name]["curves"]:
            curves: Mapping[str, Sequence[Sequence[float]]] = benchmarks[name]["curves"]
            title = f"Share of queries that took longer: {name}"
            save(title, name, plot.tails(title, {key: [(x, y) for x, y in points] for key, points in curves.items()}))
    if "scaling" in benchmarks and benchmarks["scaling"]["curves"]:
        gain = benchmarks["scaling"]["curves"]["scaling"][-1][1]
        title = "Queries per second of CPU, 1 worker = 1"
        save(
            title,
            "scaling",
            plot.bars(title, "times one worker", {"1 worker": 1.0, "2 workers": gain, "2, perfect": 2.0}),
        )
    return pictures


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
