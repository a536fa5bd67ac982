"""`shardns sizing`: what to request for shardns on a node, from how much is asked there.

It reckons with costs.toml, which holds what was measured (perf/costs.py) and nothing that was guessed. Pure but for
reading that file and printing.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from supervisor.cli import flags
from supervisor.cli.gosyntax import Flag, FlagError, Given, parse

COSTS = Path(__file__).with_name("costs.toml")
FLAGS = (
    Flag("qps", "", "queries per second of one node, at its busy times", "N"),
    Flag("hits", "0.9", "share of them that the cache answers, 0 to 1", "SHARE"),
    Flag("margin", "1.5", "how much more than was measured to request: other machines, bursts", "FACTOR"),
    Flag("cache-size", "32Mi", "as the server's flag", "SIZE"),
    Flag("json", "false", "print one JSON object"),
)
USAGE = """\
shardns sizing --qps N [--hits SHARE] [--margin FACTOR] [--cache-size SIZE] [--json]

Prints the CPU and memory to request for shardns on a node with that load, and how many workers it wants. The share of
hits is 1 - rate(coredns_cache_misses_total) / rate(coredns_dns_requests_total); 0.9 is usual."""

_FULL = 0.7  # of a core: beyond it a worker's queue grows faster than its rate
_STEP_MILLICORES = 5
_STEP_MIB = 2


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured. Curves are (queries per second, microseconds of CPU per query), rates rising."""

    measured: str
    hit_us: tuple[tuple[float, float], ...]
    miss_us: tuple[tuple[float, float], ...]
    idle_millicores: float
    memory_mib: float  # supervisor and upstream process
    memory_per_worker_mib: float


@dataclass(frozen=True, slots=True)
class Request:
    """What a node needs."""

    millicores: int  # to request
    millicores_used: float  # on the average, as measured
    workers: int
    memory_mib: int  # to request: with a full cache
    memory_limit_mib: int  # the least that a limit should be, where there has to be one


def run(words: Sequence[str]) -> int:
    """The exit code of `sizing ...`."""
    try:
        given = parse(words[1:], FLAGS)
        if given.wants_help:
            print(USAGE)
            return 0
        given.no_rest()
        rate, hits, margin = (
            _number(given, "qps", 0, 5e6),
            _number(given, "hits", 0, 1),
            _number(given, "margin", 1, 10),
        )
        cache_bytes = flags.cache_size(given.text("cache-size"))
    except FlagError as error:
        print(f"shardns sizing: {error}\n\n{USAGE}", file=sys.stderr)
        return 1
    costs = load(COSTS)
    wanted = reckon(costs, rate, hits, margin=margin, cache_bytes=cache_bytes)
    if given.truth("json"):
        print(json.dumps(asdict(wanted)))
    else:
        print(text(costs, wanted, rate, hits))
    return 0


def _number(given: Given, name: str, least: float, most: float) -> float:
    """The flag's value. Raises FlagError."""
    try:
        value = float(given.text(name))
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise FlagError(f'-{name} must be a number from {least:g} to {most:g}, got "{given.text(name)}"')
    return value


def load(path: Path) -> Costs:
    """The costs in a file that perf/costs.py wrote."""
    with path.open("rb") as file:
        found = tomllib.load(file)
    return Costs(
        measured=found["measured"],
        hit_us=tuple((rate, us) for rate, us in found["hit_us"]),
        miss_us=tuple((rate, us) for rate, us in found["miss_us"]),
        idle_millicores=found["idle_millicores"],
        memory_mib=found["memory_mib"],
        memory_per_worker_mib=found["memory_per_worker_mib"],
    )


def cost_us(curve: Sequence[tuple[float, float]], rate: float) -> float:
    """Microseconds of CPU per query at a rate: on the line between the neighbours on logarithmic axes.

    Outside the curve its nearest end: below it a query always pays for its own wake-up, above it batches are full.
    """
    if rate <= curve[0][0]:
        return curve[0][1]
    for (low, before), (high, after) in pairwise(curve):
        if rate <= high:
            way = math.log(rate / low) / math.log(high / low)
            return float(before * (after / before) ** way)
    return curve[-1][1]


def reckon(costs: Costs, rate: float, hits: float, *, margin: float, cache_bytes: int) -> Request:
    """What a node needs for rate queries per second of which the share hits is in the cache."""
    hit_rate, miss_rate = rate * hits, rate * (1 - hits)
    # A worker is woken by hits and misses alike, the upstream process by misses alone.
    hit_us, miss_us = cost_us(costs.hit_us, rate), cost_us(costs.miss_us, miss_rate)
    used = costs.idle_millicores + (hit_rate * hit_us + miss_rate * miss_us) / 1000
    workers = max(1, math.ceil(hit_rate * hit_us / 1e6 / _FULL))
    processes_mib = costs.memory_mib + workers * costs.memory_per_worker_mib
    memory_mib = _up(processes_mib * margin + cache_bytes / 2**20, _STEP_MIB)
    return Request(
        millicores=_up(max(used * margin, _STEP_MILLICORES), _STEP_MILLICORES),
        millicores_used=round(used, 1),
        workers=workers,
        memory_mib=memory_mib,
        memory_limit_mib=2 * memory_mib,
    )


def _up(value: float, step: int) -> int:
    return math.ceil(value / step - 1e-9) * step


def text(costs: Costs, wanted: Request, rate: float, hits: float) -> str:
    """The request as one would write it into a DaemonSet, and where it comes from."""
    return "\n".join(
        [
            f"# {rate:g} queries/s, {hits:.0%} hits: {wanted.millicores_used:g} millicores used",
            f"# measured: {costs.measured}",
            "args:",
            f"- --workers={wanted.workers}",
            "resources:",
            "  requests:",
            f"    cpu: {wanted.millicores}m",
            f"    memory: {wanted.memory_mib}Mi",
            "  # No limits: one of CPU stops processes within a burst, one of memory ends them in the largest.",
            f"  # Where a policy wants one of memory: {wanted.memory_limit_mib}Mi or more.",
        ]
    )
