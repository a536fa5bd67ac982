"""What changed between two result files: python perf/compare.py A B."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def figures(path: Path) -> dict[str, tuple[float, str, bool]]:
    """Value, unit and whether more is better, of every figure by name."""
    document = json.loads(path.read_text())
    return {
        figure["name"]: (figure["value"], figure["unit"], figure["is_floor"])
        for outcome in document["benchmarks"].values()
        for figure in outcome["figures"]
    }


def lines(before: dict[str, tuple[float, str, bool]], after: dict[str, tuple[float, str, bool]]) -> list[str]:
    """One line for each figure that either file has."""
    found = []
    for name in dict.fromkeys([*before, *after]):
        if name not in before or name not in after:
            found.append(f"{name:<24} only in {'the second' if name in after else 'the first'}")
            continue
        (old, unit, more_is_better), (new, *_) = before[name], after[name]
        change = (new / old - 1) * 100 if old else 0.0
        is_better = (change > 0) == more_is_better
        said = "" if abs(change) < 5 else "better" if is_better else "WORSE"
        found.append(f"{name:<24} {old:>10.3f} -> {new:>10.3f} {unit:<12} {change:>+7.1f} %  {said}".rstrip())
    return found


def main(words: list[str]) -> int:
    """0; 2 for another number of files than two."""
    if len(words) != 2:
        print(__doc__)
        return 2
    print(*lines(figures(Path(words[0])), figures(Path(words[1]))), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
