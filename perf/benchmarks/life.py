"""What it costs to be there: memory, idle CPU, start and reload; two workers and a node's plugins."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from statistics import median

from perf import load
from perf.benchmarks.cpu import running
from perf.figures import Extent, Figure, Outcome, Progress
from perf.servers import RECIPES, Server, Site, Wrong, settle, started
from tests.peers.ports import reserved
from tests.peers.process import wait_until

ENTRIES = 10_000
IDLE_S = 20.0
WITHIN_S = 20.0
QUERY = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\5start\4perf\4test\0\0\1\0\1"


def title(server: Server, pid: int) -> str:
    """What ps shows of one of its processes."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return words if words.startswith("shardns:") else server.name


def memory(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """PSS of all processes with 2 workers and 10,000 entries, touched shared memory included; at rest as well."""
    table: dict[str, dict[str, float]] = {}
    with running(
        site.as_node(2), ["shardns"], progress, [*([] if extent.is_quick else ["unbound"]), *extent.peers]
    ) as servers:
        for server in servers:
            rest = sum(server.pss_mib().values())
            load.dnsperf(server, load.names(site.directory / "fill", "hot", ENTRIES), expected="misses")
            settle(1.0)
            parts = server.pss_mib()
            table[server.name] = {"MiB at rest": rest, "MiB with 10,000 entries": sum(parts.values())}
            if os.geteuid() == 0:
                table[server.name]["MiB with 10,000 entries, if nobody shared its files"] = server.pages_mib()
            if server.name == "shardns":
                table |= {title(server, pid): {"MiB with 10,000 entries": mib} for pid, mib in parts.items()}
                progress("  ".join(f"{title(server, pid)} {mib:.1f} MiB" for pid, mib in parts.items()))
    ours = table["shardns"]
    figures = [
        Figure(
            "memory/full", "memory, 2 workers, 10,000 entries (PSS)", ours["MiB with 10,000 entries"], "MiB", 45, 32, 55
        ),
        Figure("memory/rest", "memory, 2 workers, at rest (PSS)", ours["MiB at rest"], "MiB"),
    ]
    if os.geteuid() == 0:
        alone = ours["MiB with 10,000 entries, if nobody shared its files"]
        what = "the same where nothing else on the machine runs Python"
        figures.append(Figure("memory/alone", what, alone, "MiB"))
    return Outcome(figures, table)


def idle(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU of 2 workers when nobody asks anything, with the plugins of a node: health, prometheus, reload."""
    seconds = 5.0 if extent.is_quick else IDLE_S
    with started(site.as_node(2), "shardns") as server:
        settle(2.0)
        before = server.cpu_by_pid()
        time.sleep(seconds)
        after = server.cpu_by_pid()
        parts = {title(server, pid): (after[pid] - before[pid]) / seconds * 100 for pid in after}
    progress("  ".join(f"{name} {value:.3f} %" for name, value in parts.items()))
    figure = Figure("idle/cpu", "idle CPU, 2 workers", sum(parts.values()), "% of a core", 0.3, 0.1, 0.6)
    return Outcome([figure], {name: {"idle, % of a core": value} for name, value in parts.items()})


def start(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """Seconds from exec to the first answer (of the miss that the first query is), asked every 5 ms."""
    taken: dict[str, list[float]] = {}
    for _ in range(extent.rounds):
        for name in ("shardns", "unbound"):
            taken.setdefault(name, []).append(_first_answer_s(site.as_node(2), name))
        progress("  ".join(f"{name} {values[-1]:.3f} s" for name, values in taken.items()))
    figure = Figure("start/first", "first answer after exec", median(taken["shardns"]), "s", 0.5, 0.2, 1.0)
    return Outcome([figure], {name: {"first answer, s": median(values)} for name, values in taken.items()}, taken)


def _first_answer_s(site: Site, name: str) -> float:
    with reserved() as port, (site.directory / f"{name}.log").open("ab") as log:
        command, environment = RECIPES[name](site, port)
        began = time.monotonic()
        child = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment}, cwd=site.directory)
        try:
            while time.monotonic() < began + WITHIN_S:
                if _is_answered(port):
                    return time.monotonic() - began
            raise TimeoutError(f"{name} did not answer within {WITHIN_S:g} s of its start")
        finally:
            child.terminate()
            child.wait(WITHIN_S)


def _is_answered(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.005)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(QUERY)
            return bool(sock.recv(512))
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            time.sleep(0.005)
            return False


def reload(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """Seconds from SIGUSR1 until the new Corefile is served, under 1,000 queries/s of which none may be lost."""
    taken: list[float] = []
    node = site.as_node(2)
    with started(node, "shardns") as server:
        corefile, log = site.directory / f"Corefile-{server.port}", site.directory / "shardns.log"
        load.warm(server, load.names(site.directory / "hot", "hot", 1000))
        text = corefile.read_text()
        for turn in range(extent.rounds):
            corefile.write_text(text.replace("cache 3600", f"cache {3600 + turn + 1}"))
            stream = load.start(server, load.Stream(1000, 1.5, 1000))
            time.sleep(0.3)
            taken.append(_reload_s(server, log))
            found = load.finish(stream)
            if found.answered != found.sent:
                raise Wrong(f"{found.sent - found.answered} queries were lost in a reload")
            progress(f"{taken[-1]:.3f} s, {found.sent} queries answered meanwhile, p99 {found.p99_us / 1000:.1f} ms")
    figure = Figure("reload/time", "reload, from the signal to serving", median(taken), "s", 0.5, None, 1.0)
    return Outcome([figure], {}, {"seconds": taken})


def _reload_s(server: Server, log: Path) -> float:
    """Signals, and waits for the log to say that the new generation serves."""
    begin = log.stat().st_size
    began = time.monotonic()
    os.kill(server.pid, signal.SIGUSR1)

    def events() -> list[str]:
        lines = log.read_bytes()[begin:].splitlines()
        return [json.loads(line).get("event", "") for line in lines if line.startswith(b"{")]

    wait_until(lambda: "reload.finished" in events(), within_s=WITHIN_S, what="the reload")
    return time.monotonic() - began
