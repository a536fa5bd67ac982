"""The command: python -m perf NAME ... | all | list [--quick] [--peer NAME=COMMAND] [--output DIRECTORY].

Runs benchmarks, prints their figures with the bounds, and exits with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from dataclasses import replace

from perf import machine, results, servers
from perf.benchmarks import ALL
from perf.figures import QUICK, Extent, Outcome, Skipped

QUICK_ONES = tuple(name for name in ALL if name not in {"quota", "cost"})  # those that have bounds


def main(words: list[str]) -> int:
    """0 if every figure is within its bound, 1 if not, 2 for a command line that cannot be understood."""
    args = _parser().parse_args(words)
    names = list(ALL) if args.names == ["all"] else list(QUICK_ONES) if args.quick and not args.names else args.names
    unknown = [name for name in names if name not in ALL]
    if unknown or not names:
        print(*(f"unknown: {name}" for name in unknown if name != "list"), sep="\n")
        for name, benchmark in ALL.items():
            print(f"{name:<22} {(benchmark.__doc__ or '').splitlines()[0]}")
        return 0 if args.names == ["list"] else 2
    peers = []
    for peer in args.peer:
        name, _, command = peer.partition("=")
        servers.add_peer(name, command)
        peers.append(name)
    for tree in args.tree:
        name, _, directory = tree.partition("=")
        servers.add_tree(name, directory)
        peers.append(name)
    extent = _extent(args, (*(servers.OTHERS if args.all_peers else ()), *peers))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended, and files are removed
    with machine.alone():
        found = _run(names, extent)
    missed = results.print_table(found, is_quick=extent.is_quick)
    if args.output is not None:
        print(f"written: {results.write(args.output, found)}")
    return int(bool(missed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf", description="Measure shardns against its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark, or all; list prints them")
    parser.add_argument("--quick", action="store_true", help="short runs, wide bounds: fails on a lost ratio")
    parser.add_argument("--rounds", type=int, help="interleaved rounds")
    parser.add_argument("--seconds", type=float, help="length of one load")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=COMMAND", help="measure another server too"
    )
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=DIRECTORY", help="and another checkout")
    parser.add_argument("--all-peers", action="store_true", help="measure every peer that is installed")
    parser.add_argument("--output", metavar="DIRECTORY", help="write JSON, a report and plots there")
    return parser


def _extent(args: argparse.Namespace, peers: tuple[str, ...]) -> Extent:
    base = QUICK if args.quick else Extent()
    return Extent(args.rounds or base.rounds, args.seconds or base.seconds, base.misses, peers, base.is_quick)


def _run(names: list[str], extent: Extent) -> dict[str, Outcome]:
    """What each benchmark found; one that this machine cannot measure is left out, aloud."""
    found: dict[str, Outcome] = {}
    for at, name in enumerate(names, 1):
        print(f"[{at}/{len(names)}] {name}: {(ALL[name].__doc__ or '').splitlines()[0]}", flush=True)
        outcome = _measured(name, extent)
        if outcome is not None and extent.is_quick and _is_lost(outcome):
            print("    out of its bound: once more, with twice the rounds", flush=True)
            outcome = _measured(name, replace(extent, rounds=2 * extent.rounds))
        if outcome is not None:
            found[name] = outcome
    return found


def _is_lost(outcome: Outcome) -> bool:
    return bool(outcome.failure) or not all(figure.holds(figure.quick) for figure in outcome.figures)


def _measured(name: str, extent: Extent) -> Outcome | None:
    """What one benchmark found; None when it was skipped. One that fails has no figures, and the others go on."""
    began, watched = time.monotonic(), machine.Watch()
    try:
        with servers.site() as site:
            outcome = ALL[name](site, extent, lambda text: print(f"    {text}", flush=True))
    except (Skipped, servers.Missing) as why:
        print(f"    skipped: {why}", flush=True)
        return None
    except (servers.Wrong, RuntimeError, TimeoutError) as why:
        print(f"    FAILED: {why}", flush=True)
        return Outcome([], failure=str(why))
    outcome = replace(outcome, seconds=time.monotonic() - began, others=watched.others())
    noisy = [figure.name for figure in outcome.figures if figure.is_noisy]
    print(f"    ({outcome.seconds:.0f} s; others took {outcome.others:.2f} processors meanwhile)", flush=True)
    if noisy:
        print(f"    not quiet: the rounds of {', '.join(noisy)} lie far apart", flush=True)
    return outcome


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stderr or ''}")
