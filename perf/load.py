"""dnsperf as the load, on a processor of its own."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from perf.servers import LOAD_CPU, ZONE, Server


@dataclass(frozen=True)
class Result:
    """One run against one server."""

    sent: int
    answered: int
    noerror: int
    cpu_us: float  # of the server, per answered query

    @property
    def lost(self) -> int:
        """Queries without an answer."""
        return self.sent - self.answered


def hot(path: Path, count: int) -> Path:
    """A query file of count names that is gone through again and again."""
    path.write_text("".join(f"n{i:06d}.{ZONE} A\n" for i in range(count)))
    return path


def distinct(path: Path, prefix: str, count: int) -> Path:
    """A query file of count names that nobody has asked before, if prefix is new."""
    path.write_text("".join(f"{prefix}{i:06d}.{ZONE} A\n" for i in range(count)))
    return path


def dnsperf(
    server: Server,
    queries: Path,
    *,
    seconds: float = 0,
    clients: int = 10,
    tcp: bool = False,
    rate: int = 0,
    window: int = 100,
) -> Result:
    """Run dnsperf for seconds, or once through the file if 0. Raises RuntimeError when it says nothing usable."""
    limit = ["-l", f"{seconds:g}"] if seconds else ["-n", "1"]
    command = [
        "taskset", "-c", LOAD_CPU, "dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-T", "1",
        "-c", str(clients), "-q", str(window), "-m", "tcp" if tcp else "udp", "-t", "5",
        *limit, *(["-Q", str(rate)] if rate else []),
    ]  # fmt: skip
    before_s = server.cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu_s = server.cpu_s() - before_s
    sent, answered = _number(r"Queries sent:\s+(\d+)", done.stdout), _number(r"Queries completed:\s+(\d+)", done.stdout)
    noerror = _number(r"NOERROR (\d+)", done.stdout)
    if not answered:
        raise RuntimeError(f"dnsperf against {server.name}: {done.stdout}{done.stderr}")
    return Result(sent, answered, noerror, cpu_s / answered * 1e6)


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match.group(1)) if match else 0
