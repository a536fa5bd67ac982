"""The command: python -m perf.situations [NAME ... | all]."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from perf.situations import Situation, Skipped, memory, misses, outages, survival

SITUATIONS: dict[str, Situation] = {
    "identical-misses": misses.identical_misses,
    "distinct-misses": misses.distinct_misses,
    "refused-tcp": outages.refused_tcp,
    "refused-tcp-stale": outages.refused_tcp_stale,
    "swallowed-syn": outages.swallowed_syn,
    "closing-upstream": outages.closing_upstream,
    "silent-replica": outages.silent_replica,
    "reload-warm": survival.reload_warm,
    "full-table": memory.full_table,
    "full-memory": memory.full_memory,
    "kill-worker": survival.kill_worker,
    "kill-upstream": survival.kill_upstream,
}


def main(words: list[str]) -> int:
    """0 when every bound was met, 1 when one was missed, 2 for an unknown name."""
    unknown = [word for word in words if word != "all" and word not in SITUATIONS]
    if unknown or not words:
        width = max(map(len, SITUATIONS))
        for name, situation in SITUATIONS.items():
            print(f"{name:<{width}}  {(situation.__doc__ or '').splitlines()[0]}")
        print(*(f"unknown: {word}" for word in unknown), sep="\n", end="")
        return 2 if unknown else 0
    missed = [name for name in (SITUATIONS if "all" in words else words) if not _is_met(name)]
    print(f"missed: {', '.join(missed)}" if missed else "every bound was met")
    return int(bool(missed))


def _is_met(name: str) -> bool:
    """Whether all figures of one situation are within their bounds; prints them. True for one that was skipped."""
    situation = SITUATIONS[name]
    print(f"{name}: {(situation.__doc__ or '').splitlines()[0]}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        try:
            figures = situation(Path(directory), 1.0)
        except Skipped as why:
            print(f"  skipped: {why}\n", flush=True)
            return True
    for figure in figures:
        print(figure)
    print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)
    return all(figure.is_met for figure in figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
