"""Processes are killed and the configuration changes under load: no query may be lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from perf.situations import Figure
from tests.e2e import shardns as program
from tests.peers import fake, load
from tests.peers.client import ask
from tests.peers.process import wait_until

HOT = 200
LONG = program.STOCK.replace("cache 30", "cache 3600")


def kill_worker(directory: Path, scale: float) -> list[Figure]:
    """5,000 hits/s; ten times one of two workers is killed with SIGKILL. The clients never ask twice."""
    kills, rate = max(3, round(10 * scale)), 5000 if scale == 1 else 2000
    with fake.nameserver() as server, program.shardns(directory, LONG, upstream=f"127.0.0.1:{server.port}") as made:
        _warm(made.port)
        running = load.start(made.port, rate=rate, seconds=kills + 1, hot=HOT)
        for number in range(kills):
            time.sleep(1)
            _kill(made, f"worker {number % 2}")
        done = load.result(running)
        return _survived(done, kills)


def kill_upstream(directory: Path, scale: float) -> list[Figure]:
    """500 misses/s; the upstream process is killed with SIGKILL, five times. The clients never ask twice."""
    kills = max(2, round(5 * scale))
    with fake.nameserver(delay_s=0.02) as server:
        with program.shardns(directory, upstream=f"127.0.0.1:{server.port}") as made:
            running = load.start(made.port, rate=500, seconds=2 * kills + 1)
            for _ in range(kills):
                time.sleep(2)
                _kill(made, "upstream")
            done = load.result(running)
        return _survived(done, kills)


def reload_warm(directory: Path, scale: float) -> list[Figure]:
    """1,500 hits/s on one server block while another one changes, and the configuration is reloaded, twice."""
    pause_s = max(0.5, 1.5 * scale)
    block = LONG + "example.net {\n bind 127.0.0.1\n cache 30\n forward . UPSTREAM\n}\n"
    with fake.nameserver() as server, program.shardns(directory, block, upstream=f"127.0.0.1:{server.port}") as made:
        _warm(made.port)
        before = _asked(server)
        running = load.start(made.port, rate=1500, seconds=4 * pause_s, hot=HOT)
        for seconds in (60, 90):
            time.sleep(pause_s)
            made.reload(block.replace("cache 30", f"cache {seconds}"))
        done = load.result(running)
        return [
            Figure("reloads that took over", made.scrape().total("shardns_reloads_total"), at_least=2, at_most=2),
            Figure("hits", done.sent),
            Figure("lost", done.lost, at_most=0),
            Figure("wrong", done.wrong, at_most=0),
            Figure("upstream queries for the warm names", _asked(server) - before, at_most=0),
            Figure("99 of 100 answered within", done.p99_ms, "ms"),
            Figure("all answered within", done.max_ms, "ms"),
        ]


def _asked(server: fake.FakeNameserver) -> int:
    """How often the nameserver was asked for a hot name."""
    return sum(count for name, count in server.names.items() if name.endswith(b"\x07example\x03org\x00"))


def _warm(port: int) -> None:
    """Nothing; every hot name of the load is cached."""
    for number in range(HOT):
        assert ask(f"n{number}.example.org", port=port).answer


def _kill(made: program.Shardns, role: str) -> None:
    """Nothing, once the process in that role is another one."""
    pid = made.pids()[role]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: made.pids().get(role, pid) != pid, within_s=15, what=f"another {role}")


def _survived(done: load.Result, kills: int) -> list[Figure]:
    """What the load saw of the kills."""
    return [
        Figure("kills", kills),
        Figure("queries", done.sent),
        Figure("lost", done.lost, at_most=0),
        Figure("wrong", done.wrong, at_most=0),
        Figure("half of them answered within", done.p50_ms, "ms"),
        Figure("99 of 100 answered within", done.p99_ms, "ms"),
        Figure("all answered within", done.max_ms, "ms"),
    ]
