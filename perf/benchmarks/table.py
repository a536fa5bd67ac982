"""The table alone: what a hit costs as it grows, in instructions, which no other load on the machine can disturb."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from perf.figures import Extent, Figure, Outcome, Progress, Skipped
from perf.servers import BUILT, ROOT, Site

SIZES = (1_000, 100_000, 1_000_000)
FINDS = 20_000


def program() -> Path:
    """table_find.c with the core's own sources, compiled as the core is."""
    BUILT.mkdir(parents=True, exist_ok=True)
    core = [str(path) for path in sorted((ROOT / "shardns" / "core").glob("*.c")) if path.name != "_core.c"]
    command = ["cc", "-std=c11", "-O2", "-g", "-I", str(ROOT / "shardns/core")]
    target = BUILT / "table_find"
    subprocess.run([*command, "-o", str(target), str(ROOT / "perf/table_find.c"), *core, "-lpthread"], check=True)
    return target


def find(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """Instructions per hit at 10^3, 10^5 and 10^6 entries (callgrind)."""
    if shutil.which("valgrind") is None or not Path("/usr/include/valgrind/callgrind.h").exists():
        raise Skipped("valgrind is not installed")
    target = program()
    taken: dict[int, float] = {}
    for size in SIZES[:2] if extent.is_quick else SIZES:
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"]
        done = subprocess.run(
            [*command, str(target), str(size), str(FINDS)],
            capture_output=True,
            text=True,
            check=True,
            cwd=site.directory,
        )
        counted = re.search(r"Collected : (\d+)", done.stderr)
        if counted is None or done.stdout != f"hits {FINDS}\n":
            raise RuntimeError(f"callgrind at {size} entries: {done.stdout} {done.stderr[-500:]}")
        taken[size] = int(counted.group(1)) / FINDS
        progress(f"{size:>9,} entries: {taken[size]:.0f} instructions per hit")
    spread = max(taken.values()) / min(taken.values())
    figures = [
        Figure(
            "table/flat", "instructions per find, most over least, 10^3 to 10^6 entries", spread, "x", 1.1, None, 1.1
        ),
        Figure("table/instructions", "instructions per find", taken[SIZES[0]], "instructions"),
    ]
    rows = {f"{size:,} entries": {"instructions per hit": value} for size, value in taken.items()}
    return Outcome(figures, rows, {}, {"table": [(float(size), value) for size, value in taken.items()]})
