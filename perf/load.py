"""Load on a processor of its own: dnsperf for throughput, loadgen.c for latency and for rates.

Names are a prefix and seven digits under ZONE; the same prefix gives the same names to both generators.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perf.servers import LOAD_CPU, ZONE, Server, Wrong, built

LIGHT = 25_000  # queries per second at which the generator leaves most of its processor to others


Expected = Literal["hits", "misses", ""]  # what a load must turn out to have been; "": anything


@dataclass(frozen=True)
class Result:
    """One run of dnsperf against one server."""

    sent: int
    answered: int
    noerror: int
    rate: float  # answered per second
    cpu_us: float  # of the server, per answered query
    cpu_us_by_pid: dict[int, float]  # of each of its processes, per answered query of all
    asked: int  # queries that the nameserver had of it

    @property
    def lost(self) -> int:
        """Queries without an answer."""
        return self.sent - self.answered


@dataclass(frozen=True)
class Latency:
    """One run of loadgen; times in microseconds from the moment a query was due."""

    sent: int
    answered: int
    wrong: int
    lost: int
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    late_p99_us: float  # how late the generator itself was: far below p50_us in a run that can be trusted
    histogram: list[tuple[float, int]]
    cpu_us: float = 0.0

    @property
    def lost_share(self) -> float:
        """Of the queries sent, those without a right answer in time."""
        return (self.sent - self.answered) / self.sent


def names(path: Path, prefix: str, count: int) -> Path:
    """A query file of count names; one that nobody has asked before, if prefix is new."""
    path.write_text("".join(f"{prefix}{i:07d}.{ZONE} A\n" for i in range(count)))
    return path


def dnsperf(
    server: Server,
    queries: Path,
    *,
    seconds: float = 0,
    clients: int = 10,
    tcp: bool = False,
    window: int = 100,
    expected: Expected = "",
) -> Result:
    """Run dnsperf for seconds, or once through the file if 0.

    Raises Wrong where answers are not NOERROR, and where they were not the hits or misses that were expected.
    """
    command = [
        "taskset", "-c", LOAD_CPU, "dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-T", "1",
        "-c", str(clients), "-q", str(window), "-m", "tcp" if tcp else "udp", "-t", "5",
        *(["-l", f"{seconds:g}"] if seconds else ["-n", "1"]),
    ]  # fmt: skip
    asked, before = server.asked(), server.cpu_by_pid()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after, asked = server.cpu_by_pid(), server.asked() - asked
    sent, answered = _number(r"Queries sent:\s+(\d+)", done.stdout), _number(r"Queries completed:\s+(\d+)", done.stdout)
    noerror = _number(r"NOERROR (\d+)", done.stdout)
    if not answered or noerror < answered or sent - answered > sent // 1000:
        raise Wrong(f"{server.name}: {noerror:g} NOERROR of {sent:g} sent\n{done.stdout[-600:]}{done.stderr[-300:]}")
    check_expected(server.name, expected, int(answered), asked)
    by_pid = {pid: (after[pid] - before.get(pid, 0.0)) / answered * 1e6 for pid in after}
    rate = _number(r"Queries per second:\s+([\d.]+)", done.stdout)
    return Result(int(sent), int(answered), int(noerror), rate, sum(by_pid.values()), by_pid, asked)


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text)
    return float(match.group(1)) if match else 0


@dataclass(frozen=True)
class Stream:
    """A load of loadgen: so many queries per second of so many names (0: each name once)."""

    rate: float
    seconds: float
    names: int = 1000
    prefix: str = "hot"
    sockets: int = 64
    wait_s: float = 2
    is_busy: bool = False  # never sleeps: exact, but takes its processor whole


def _first(stream: Stream) -> list[str]:
    """What gives the generator its processor when its time has come, where we may and it needs little of it."""
    is_light = not stream.is_busy and stream.rate <= LIGHT
    return ["chrt", "--fifo", "1"] if is_light and os.geteuid() == 0 else []


def start(server: Server, stream: Stream) -> subprocess.Popen[str]:
    """The running generator; finish() waits for it."""
    command = [
        *_first(stream), "taskset", "-c", LOAD_CPU, str(built("loadgen")), "-p", str(server.port),
        "-r", f"{stream.rate:g}", "-l", f"{stream.seconds:g}", "-n", str(stream.names), "-x", stream.prefix,
        "-z", ZONE.rstrip("."), "-c", str(stream.sockets), "-w", f"{stream.wait_s:g}",
        *(["-b"] if stream.is_busy else []),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(running: subprocess.Popen[str], name: str = "", cpu_s: float = 0.0) -> Latency:
    """What the generator measured. Raises Wrong for a reply that is another name's, or not NOERROR."""
    out, _ = running.communicate()
    found = json.loads(out)
    histogram = [(value, count) for value, count in found.pop("histogram")]
    overrun, first_wrong = found.pop("overrun"), found.pop("first_wrong")
    latency = Latency(**found, histogram=histogram, cpu_us=cpu_s / max(1, found["answered"]) * 1e6)
    if latency.wrong or overrun:
        raise Wrong(
            f"{name}: {latency.wrong} wrong replies of {latency.sent}, first {first_wrong or '-'}; "
            f"{overrun} places of the generator overrun"
        )
    return latency


def paced(server: Server, stream: Stream, expected: Expected | None = None) -> Latency:
    """One run of loadgen, with the server's CPU. Where nothing else is expected, names that come again must be hits."""
    asked, before = server.asked(), server.cpu_s()
    running = start(server, stream)
    running.wait()
    found = finish(running, server.name, server.cpu_s() - before)
    if expected is None:
        expected = "hits" if stream.names else "misses"
    check_expected(server.name, expected, found.answered, server.asked() - asked)
    return found


def check_expected(name: str, expected: Expected, answered: int, asked: int) -> None:
    """Nothing; raises Wrong where the nameserver was asked more than hits need, or less than misses do.

    Of hits one in a thousand may be asked again, and twenty more: a health check, what was lost while it was warmed.
    """
    if expected == "hits" and asked > 20 + answered / 1000:
        raise Wrong(f"{name}: the nameserver was asked {asked} times for {answered} hits")
    if expected == "misses" and asked < answered * 0.999:
        raise Wrong(f"{name}: the nameserver was asked only {asked} times for {answered} misses")


def warm(server: Server, queries: Path, *, tcp: bool = False) -> None:
    """Nothing; everything in the file is cached. What was lost on the way is asked for again, twice at most."""
    for _ in range(2):
        with contextlib.suppress(Wrong):
            dnsperf(server, queries, tcp=tcp)
            return
    dnsperf(server, queries, tcp=tcp)
