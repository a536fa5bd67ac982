"""Writes supervisor/cli/costs.toml, which `shardns sizing` reckons with, out of a result file.

python -m perf cost tcp memory idle quota --output perf/results && python -m perf.costs perf/results/FILE.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from perf.servers import ROOT

TARGET = ROOT / "supervisor" / "cli" / "costs.toml"


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
    for name, row in found["quota"]["table"].items():
        server, _, limit = name.partition(" at ")
        if server == "shardns":
            calm = row.get("p99 ms calm", row["p99 ms"])
            lines += ["[[limit]]", f"millicores = {limit.rstrip('m')}", f"queries_per_s = {row['queries/s held']:.0f}"]
            lines += [f"p99_ms = {row['p99 ms']:.1f}", f"half_p99_ms = {calm:.1f}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(json.loads(Path(sys.argv[1]).read_text())))
    print(TARGET)
