"""Flame graphs of the hit path, the miss path and the TCP path.

    python -m perf.profile hits|misses|tcp TARGET.svg

Samples one process with perf (native frames: the hit path is C) or py-spy (Python frames), folds the stacks and draws
them: the width of a frame is its share of the samples, what it calls stands upon it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from perf import load, servers
from perf.plot import flames

SECONDS = 4
LEAST = 0.004  # share of the samples below which a frame is not drawn


def folded_by_perf(pid: int, directory: Path, seconds: float) -> Counter[tuple[str, ...]]:
    """Stacks of a process, outermost first, with how often each was seen; kernel frames included."""
    record = ["perf", "record", "-q", "-F", "1999", "-g", "-p", str(pid), "-o", "perf.data"]
    subprocess.run([*record, "--", "sleep", str(seconds)], cwd=directory, check=True, capture_output=True)
    script = subprocess.run(
        ["perf", "script", "-i", "perf.data", "-F", "ip,sym"], cwd=directory, check=True, capture_output=True, text=True
    )
    return Counter(_stacks(script.stdout))


def _stacks(text: str) -> Iterator[tuple[str, ...]]:
    """The samples of perf script: one frame a line, innermost first, an empty line between samples."""
    for sample in text.split("\n\n"):
        frames = [line.split(None, 1)[1] for line in sample.splitlines() if len(line.split(None, 1)) > 1]
        if frames:
            yield tuple(reversed(frames))


def folded_by_py_spy(pid: int, directory: Path, seconds: float) -> Counter[tuple[str, ...]]:
    """The same of Python frames."""
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "-p", str(pid), "-d", str(int(seconds))]
    command += ["-r", "500", "-F", "-f", "raw", "-o", "spy.txt"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    found: Counter[tuple[str, ...]] = Counter()
    for line in (directory / "spy.txt").read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if "UdpThread._run" not in stack:  # waits in C without the interpreter lock, which py-spy takes for work
            found[tuple(stack.split(";"))] += int(count)
    return found


def stacks(path: str) -> Counter[tuple[str, ...]]:
    """What the process that does the work of a path does under load."""
    with servers.site() as site, servers.started(site, "shardns") as server:
        queries = load.names(site.directory / "hot", "hot", 1000)
        load.dnsperf(server, queries)
        _, upstream, worker = server.pids()
        command = ["taskset", "-c", servers.LOAD_CPU, "dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-c", "20"]
        command += ["-T", "1", "-m", "tcp" if path == "tcp" else "udp"]
        if path == "misses":
            load.names(queries, "once", 400_000)
        running = subprocess.Popen([*command, "-d", str(queries), "-l", str(SECONDS + 2)], stdout=subprocess.DEVNULL)
        time.sleep(0.7)
        try:
            if path == "hits":
                return folded_by_perf(worker, site.directory, SECONDS)
            return folded_by_py_spy(upstream if path == "misses" else worker, site.directory, SECONDS)
        finally:
            running.wait()


def main(words: list[str]) -> int:
    """0; writes the picture and prints the frames that took most."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile")
    parser.add_argument("path", choices=("hits", "misses", "tcp"))
    parser.add_argument("target", type=Path)
    args = parser.parse_args(words)
    if args.path == "hits" and shutil.which("perf") is None:
        print("perf is not installed (Debian package linux-perf)")
        return 2
    if args.path != "hits" and not (Path(sys.executable).parent / "py-spy").exists():
        print("py-spy is not installed beside this Python")
        return 2
    found = stacks(args.path)
    args.target.write_text(flames(f"{args.path}: share of CPU by function", found, LEAST))
    total = sum(found.values())
    own: Counter[str] = Counter()
    for stack, count in found.items():
        own[stack[-1]] += count
    for frame, count in own.most_common(15):
        print(f"{count / total:6.1%}  {frame}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
