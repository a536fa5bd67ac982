"""More names than the cache has room for, with some that are asked for again and again."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from perf.situations import Figure, Skipped
from tests.e2e import shardns as program
from tests.peers import nameservers

NAMES, HOT, EVERY = 1_000_000, 200, 11
BUDGET = 32 << 20
ZONE = """\
example.org. 3600 IN SOA ns.example.org. hostmaster.example.org. 1 7200 1800 86400 3600
*.example.org. 3600 IN A 192.0.2.1
"""
COREFILE = program.STOCK.replace("cache 30", "cache {\n success CAPACITY 3600\n }")


def full_table(directory: Path, scale: float) -> list[Figure]:
    """A million distinct names through the default cache; every eleventh query is for one of 200 hot names."""
    return _measure(directory, scale, capacity=9984)


def full_memory(directory: Path, scale: float) -> list[Figure]:
    """The same without an upper bound of entries: the table's memory is what is full."""
    return _measure(directory, scale, capacity=100_000_000)


def _measure(directory: Path, scale: float, capacity: int) -> list[Figure]:
    """The figures of both: dnsperf asks, knot answers."""
    names = round(NAMES * scale)
    queries = directory / "queries"
    cold, hot = _write(queries, names)
    with (
        nameservers.knot(ZONE, directory) as server,
        program.shardns(
            directory,
            COREFILE,
            upstream=f"127.0.0.1:{server.port}",
            places={"CAPACITY": str(capacity)},
            flags=("-cache-size", "32Mi"),
        ) as made,
    ):
        _dnsperf(_hot_names(directory), made.port)
        before = made.scrape()
        done = _dnsperf(queries, made.port)
        after = made.scrape()
        size = (program.SHM / made.shm_name).stat().st_size
        resident = {role: int(program.status(pid)["VmRSS"].split()[0]) for role, pid in made.pids().items()}
    hits = after.total("coredns_cache_hits_total") - before.total("coredns_cache_hits_total")
    return [
        Figure("distinct names", cold),
        Figure("queries for hot names", hot),
        Figure("queries lost", float(_number(r"Queries lost: +(\d+)", done)), at_most=0),
        Figure("queries/s", round(float(_number(r"Queries per second: +([\d.]+)", done)))),
        Figure("hot names that hit", round(100 * hits / hot, 2), "%", at_least=99, at_most=100),
        Figure("entries", after.total("shardns_table_entries")),
        Figure("entries that were evicted", after.total("coredns_cache_evictions_total")),
        Figure("memory of the table", round(size / (1 << 20), 2), "MiB", at_most=BUDGET / (1 << 20)),
        Figure("resident memory of the upstream process", round(resident["upstream"] / 1024, 1), "MiB"),
        Figure("resident memory of a worker", round(resident["worker 0"] / 1024, 1), "MiB"),
    ]


def _write(path: Path, names: int) -> tuple[int, int]:
    """How many cold and hot queries were written to path, for dnsperf."""
    hot = 0
    with path.open("w") as out:
        for number in range(names):
            if number % (EVERY - 1) == 0:
                out.write(f"hot{hot % HOT}.example.org A\n")
                hot += 1
            out.write(f"n{number}.example.org A\n")
    return names, hot


def _hot_names(directory: Path) -> Path:
    """A file that asks for each hot name once."""
    path = directory / "hot"
    path.write_text("".join(f"hot{number}.example.org A\n" for number in range(HOT)))
    return path


def _dnsperf(queries: Path, port: int) -> str:
    """What dnsperf says of the queries, each asked once, 200 of them under way."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-q", "200", "-t", "10", "-c", "8", "-n", "1"]
    try:
        done = subprocess.run([*command, "-d", str(queries)], capture_output=True, text=True, check=True, timeout=600)
    except FileNotFoundError:
        raise Skipped("needs dnsperf") from None
    return done.stdout


def _number(pattern: str, text: str) -> str:
    """The number that the pattern finds."""
    found = re.search(pattern, text)
    assert found, text
    return found[1]
