"""Writes what was measured to where it is used, out of a result file.

    python -m perf cost tcp memory idle quota --output perf/results && python -m perf.costs perf/results/FILE.json

supervisor/cli/costs.toml, which `shardns sizing` reckons with; the comment of each deploy/components/cpu-*; the rows of
the tables of CPU limits in deploy/README.md and docs/performance.md.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perf.benchmarks.quota import RATE_MAX
from perf.servers import ROOT

TARGET = ROOT / "supervisor" / "cli" / "costs.toml"
COMPONENTS = ROOT / "deploy" / "components"
TABLES = (ROOT / "deploy" / "README.md", ROOT / "docs" / "performance.md")


@dataclass(frozen=True)
class Limit:
    """What shardns and unbound did under one CPU limit, hits only; times in milliseconds, rates per second."""

    millicores: int
    held: float
    held_ms: float  # p99 at that rate
    unbound_held: float
    calm: float  # half of what unbound held
    calm_ms: float
    unbound_calm_ms: float

    @property
    def row(self) -> str:
        """Of a Markdown table."""
        return (
            f"| {self.millicores}m | {_rate(self.held)} | {_ms(self.held_ms)} | {_rate(self.unbound_held)} | "
            f"{self.calm:,.0f}/s | {_ms(self.calm_ms)} | {_ms(self.unbound_calm_ms)} |"
        )

    @property
    def component(self) -> str:
        """The whole kustomization of the component that requests as much."""
        unbound = f"unbound under the same limit: {_rate(self.unbound_held)} held, {_ms(self.unbound_calm_ms)}"
        return f"""\
# A CPU request of {self.millicores}m; deploy/README.md says when.
# With as much as a limit (quota, 1 worker, hits), measured: {_rate(self.held)} held, with p99 {_ms(self.held_ms)};
# at {self.calm:,.0f}/s p99 {_ms(self.calm_ms)} ({unbound}).
# Without a limit, which is how the manifests have it, nothing waits for the next period.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - path: daemonset.yaml
"""


def _rate(value: float) -> str:
    return f"{value:,.0f}/s" if value < RATE_MAX else f"{RATE_MAX:,.0f}/s and more"


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def limits(document: dict[str, Any]) -> list[Limit]:
    """Every limit that was measured, least first."""
    table = document["benchmarks"]["quota"]["table"]
    found = []
    for name, ours in table.items():
        server, _, limit = name.partition(" at ")
        if server == "shardns":
            theirs = table[f"unbound at {limit}"]
            found.append(
                Limit(
                    int(limit.rstrip("m")), ours["queries/s held"], ours["p99 ms"], theirs["queries/s held"],
                    theirs["queries/s held"] / 2, ours["p99 ms calm"], theirs["p99 ms calm"],
                )
            )  # fmt: skip
    return sorted(found, key=lambda limit: limit.millicores)


def with_rows(text: str, limits: list[Limit]) -> str:
    """A page with the rows of its table of limits replaced."""
    for limit in limits:
        text = re.sub(rf"^\| {limit.millicores}m \|( [^|]*\|){{6}}$", limit.row, text, flags=re.MULTILINE)
    return text


def text(document: dict[str, Any]) -> str:
    """The file's whole text."""
    found = document["benchmarks"]
    memory = {name: row["MiB with 10,000 entries"] for name, row in found["memory"]["table"].items() if ":" in name}
    workers = [value for name, value in memory.items() if "worker" in name]
    idle = next(figure["value"] for figure in found["idle"]["figures"] if figure["name"] == "idle/cpu")
    lines = [
        "# What queries cost: measured, not chosen. Written by perf/costs.py.",
        f'measured = "{document["date"]}, commit {document["commit"]}, {document["machine"]["cpu"]}"',
        f"idle_millicores = {idle * 10:.1f}",
        f"tcp_hit_us = {found['tcp']['table']['shardns']['CPU us per hit by TCP']:.1f}",
        f"memory_mib = {sum(memory.values()) - sum(workers):.0f} # supervisor and upstream process, 10,000 entries",
        f"memory_per_worker_mib = {sum(workers) / len(workers):.0f}",
        "# [queries per second, microseconds of CPU per query]",
    ]
    for what in ("hit", "miss"):
        points = ", ".join(f"[{rate:.0f}, {us:.1f}]" for rate, us in found["cost"]["curves"][f"shardns {what}"])
        lines.append(f"{what}_us = [{points}]")
    lines += [
        "",
        "# What was held under a CPU limit, with at most 0.1 % lost and p99 below 150 ms, hits only, 1 worker",
    ]
    for limit in limits(document):
        lines += ["[[limit]]", f"millicores = {limit.millicores}", f"queries_per_s = {limit.held:.0f}"]
        lines += [f"p99_ms = {limit.held_ms:.1f}", f"half_p99_ms = {limit.calm_ms:.1f}"]
    return "\n".join(lines) + "\n"


def write(document: dict[str, Any]) -> None:
    """Every place."""
    TARGET.write_text(text(document))
    for limit in limits(document):
        (COMPONENTS / f"cpu-{limit.millicores}m" / "kustomization.yaml").write_text(limit.component)
    for page in TABLES:
        page.write_text(with_rows(page.read_text(), limits(document)))


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()))
    print(TARGET, COMPONENTS, *TABLES, sep="\n")
