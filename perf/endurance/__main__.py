"""The command: python -m perf.endurance [--seconds N] [--seed N]. Exit code 1 when anything was not as it must be."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from perf.endurance import clients, watch
from perf.endurance.schedule import CALM_S, END_S, Event, What, schedule, spared_at
from perf.servers import ROOT, answers, built
from tests.e2e import shardns as program
from tests.peers import ports
from tests.peers.process import Process, running, session, wait_until

LOG = ROOT / "build" / "soak.log"  # of a shardns that failed
WORKERS = 2
CACHE_BYTES = 32 << 20
LOOK_S = 1.0
SCRAPE_EVERY = 5  # looks
COREFILE = (
    program.STOCK.replace("cache 30", "cache MAIN")
    + "example.net {\n bind 127.0.0.1\n cache OTHER\n forward . UPSTREAM\n}\n"
)


class Nameserver:
    """perf/nameserver.c, which can fall silent, be gone, and come back at the same port."""

    def __init__(self, directory: Path, port: int, ttl_s: int) -> None:
        self._directory, self.port, self._ttl_s = directory, port, ttl_s
        self._life = contextlib.ExitStack()
        self._process: Process | None = None

    def start(self) -> None:
        """It answers."""
        command = [str(built("nameserver")), "127.0.0.1", str(self.port), str(self._ttl_s)]
        self._process = self._life.enter_context(
            running("nameserver", command, directory=self._directory, ready=lambda: answers(self.port))
        )

    def silence(self) -> None:
        """It takes what comes and says nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def end(self) -> None:
        """It is gone; what is sent to it is refused."""
        if self._process is not None and self._process.child.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process = None
        self._life.close()

    def back(self) -> None:
        """It answers again."""
        if self._process is None:
            self.start()
        else:
            os.kill(self._process.pid, signal.SIGCONT)


class Run:
    """One long run: what is done to shardns, and what is seen of it."""

    def __init__(self, made: program.Shardns, nameserver: Nameserver, chance: random.Random) -> None:
        self.made, self.nameserver, self.chance = made, nameserver, chance
        self.chaos = clients.Chaos()
        self.record = watch.Record()
        self.done: Counter[What] = Counter()
        self.kills = 0
        self.findings: list[str] = []
        self.began = time.monotonic()
        self._settings = {"MAIN": 30_000, "OTHER": 30}
        self._stopped = threading.Event()

    def do(self, event: Event) -> None:
        """Make it happen, and wait until shardns is whole again; what does not happen is a finding."""
        self.done[event.what] += 1
        try:
            match event.what:
                case What.KILL_WORKER:
                    self._kill(f"worker {self.chance.randrange(WORKERS)}")
                case What.KILL_FIRST:
                    self._kill("worker 0")
                case What.KILL_UPSTREAM:
                    self._kill("upstream")
                case What.KILL_ALL:
                    self._kill("upstream", *(f"worker {number}" for number in range(WORKERS)))
                case What.RELOAD | What.RELOAD_COLD | What.RELOAD_BROKEN:
                    self._reload(event.what)
                case What.SILENT | What.GONE:
                    self.chaos.outages.begin(time.monotonic())
                    self.nameserver.silence() if event.what is What.SILENT else self.nameserver.end()
                case What.BACK:
                    self.nameserver.back()
                    self.chaos.outages.end(time.monotonic())
        except TimeoutError as error:
            self.findings.append(f"{event}: {error}")

    def _kill(self, *roles: str) -> None:
        pids = self.made.pids()
        self.chaos.endings.begin(time.monotonic())
        for role in roles:
            os.kill(pids[role], signal.SIGKILL)
            self.kills += 1

        def are_new() -> bool:
            now = self.made.pids()
            return all(now.get(role, pids[role]) != pids[role] for role in roles)

        wait_until(are_new, within_s=15, what=f"another {' and '.join(roles)}")
        self.chaos.endings.end(time.monotonic())

    def _reload(self, what: What) -> None:
        if what is What.RELOAD_BROKEN:
            failed = len(self.made.events("plan.refused"))
            self.made.write("example.org {\n no-such-plugin\n}\n")
            os.kill(self.made.process.pid, signal.SIGUSR1)
            self.made.wait_event("plan.refused", failed + 1)
            self.made.write(self.corefile())
            return
        self._settings["MAIN" if what is What.RELOAD_COLD else "OTHER"] += 1
        self.chaos.endings.begin(time.monotonic())
        try:
            self.made.reload(self.corefile())
        finally:
            self.chaos.endings.end(time.monotonic())

    def corefile(self) -> str:
        """As it is to be now."""
        return program.filled(COREFILE, {word: str(value) for word, value in self._settings.items()})

    def watch(self) -> None:
        """Look at everything once a second, until stopped."""
        turn = 0
        while not self._stopped.wait(LOOK_S):
            now = time.monotonic()
            self.record.samples.append(watch.look(now - self.began, self.made.pids(), self.nameserver.port))
            turn += 1
            if turn % SCRAPE_EVERY == 0:
                self._scrape(now)

    def _scrape(self, now: float) -> None:
        status, text = self.made.http("METRICS", "/metrics")
        if status != 200:
            # The process that writes the page was perhaps killed in the middle of it.
            if not self.chaos.endings.touches(now, time.monotonic(), 3):
                self.findings.append(f"no metrics page at {now - self.began:.1f} s")
            return
        with contextlib.suppress(OSError):
            page = program.Page(text)
            size = page.total("shardns_table_size_bytes")
            self.record.table_entries = max(self.record.table_entries, page.total("shardns_table_entries"))
            self.record.table_used = max(
                self.record.table_used,
                page.total("shardns_table_used_bytes") / max(1, size),
                size / CACHE_BYTES,
                (program.SHM / self.made.shm_name).stat().st_size / CACHE_BYTES,
            )

    def stop_watching(self) -> None:
        """The last look was the last."""
        self._stopped.set()


def whole(run: Run) -> list[str]:
    """What is amiss at the end: processes too many or too few, and such as ended though nobody killed them."""
    made, found = run.made, []
    roles = sorted(made.pids())
    if roles != ["supervisor", "upstream", *(f"worker {number}" for number in range(WORKERS))]:
        found.append(f"processes at the end: {', '.join(roles)}")
    left = len(session(made.process.pid)) - len(roles)
    if left:
        found.append(f"{left} processes more than there should be")
    exits = made.events("child.exited")
    if len(exits) > run.kills:
        strange = [event for event in exits if event.get("signal") != "SIGKILL"] or exits
        found.append(f"{len(exits)} processes ended, {run.kills} were killed; one: {strange[-1]}")
    for name in ("child.stuck", "child.failed"):
        found += [str(event) for event in made.events(name)]
    failed = made.events("reload.failed")
    if len(failed) != run.done[What.RELOAD_BROKEN]:
        found.append(f"{len(failed)} reloads failed, {run.done[What.RELOAD_BROKEN]} Corefiles were broken")
    return found


@contextlib.contextmanager
def _begun(run: Run) -> Iterator[Sequence[clients.Client]]:
    """Clients and watcher at work; afterwards everything they asked is answered or lost."""
    kinds = (clients.Hits, clients.Misses, clients.Streams, clients.Odd)
    asking = [kind(run.made.port, run.chaos, run.began) for kind in kinds]
    watcher = threading.Thread(target=run.watch, name="watch", daemon=True)
    threads = [*asking, watcher]
    threading.excepthook = lambda ended: run.findings.append(
        f"{ended.thread and ended.thread.name}: {ended.exc_value!r}"
    )
    for thread in threads:
        thread.start()
    try:
        yield asking
    finally:
        for client in asking:
            client.stop()
        for client in asking:
            client.join(clients.WAIT_S + 5)
        run.stop_watching()
        watcher.join()


def soak(directory: Path, seconds: float, seed: int) -> int:
    """The exit code."""
    events = schedule(seed, seconds)
    print(f"soak of {seconds:.0f} s, seed {seed}: {len(events)} events", *events, "", sep="\n", flush=True)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(ports.reserved())
        # Longer than the run: what was cached stays so, also while the nameserver is away.
        nameserver = Nameserver(directory, port, ttl_s=max(3600, int(4 * seconds)))
        stack.callback(nameserver.end)
        nameserver.start()
        made = stack.enter_context(
            program.shardns(
                directory,
                program.filled(COREFILE, {"MAIN": "30000", "OTHER": "30"}),
                upstream=f"127.0.0.1:{port}",
                workers=WORKERS,
                flags=("-cache-size", str(CACHE_BYTES)),
            )
        )
        run = Run(made, nameserver, random.Random(seed))
        with _begun(run) as asking:
            _go_through(run, events, seconds, asking)
        findings = [*run.findings, *(line for client in asking for line in client.findings)]
        findings += [*watch.complaints(run.record, spared_at(seconds) + CALM_S), *whole(run)]
        if findings:
            LOG.parent.mkdir(exist_ok=True)
            LOG.write_text(made.process.output())
        return _judged(run, asking, findings, seconds, seed)


def _go_through(run: Run, events: list[Event], seconds: float, asking: Sequence[clients.Client]) -> None:
    for event in [*events, None]:
        until = run.began + (seconds if event is None else event.at_s)
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, 5))
        if event is not None:
            asked, found = sum(one.sent for one in asking), sum(len(one.findings) for one in asking)
            at_s = time.monotonic() - run.began
            print(f"{at_s:7.1f} s  {event.what}   ({asked:,} asked, {found} findings)", flush=True)
            run.do(event)


def _judged(run: Run, asking: Sequence[clients.Client], findings: list[str], seconds: float, seed: int) -> int:
    """Print the findings, the first of each kind first, and the summary."""
    for finding in findings[:40]:
        print(f"FAILED {finding}")
    if len(findings) > 40:
        print(f"FAILED and {len(findings) - 40} more")
    asked = ", ".join(f"{one.sent:,} {one.what}" for one in asking)
    excused = sum(one.excused for one in asking)
    slowest = ", ".join(f"{one.what} {one.slowest_s:.2f} s" for one in asking if one.right)
    print(
        f"soak: {'FAILED' if findings else 'held'}: {seconds:.0f} s, seed {seed}: {len(findings)} findings; "
        f"{run.done.total() - run.done[What.BACK]} events, {run.kills} kills; asked {asked}; "
        f"{excused} SERVFAIL while the nameserver was away; slowest {slowest}; {watch.text(run.record)}"
    )
    return int(bool(findings))


def main(words: list[str]) -> int:
    """0, 1 when something was not as it must be, 2 for a length that has no room for events."""
    parser = argparse.ArgumentParser(prog="python -m perf.endurance")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    args = parser.parse_args(words)
    if args.seconds < CALM_S + END_S + 10:
        print(f"at least {CALM_S + END_S + 10:g} seconds")
        return 2
    with tempfile.TemporaryDirectory(prefix="shardns-soak-") as path:
        return soak(Path(path), args.seconds, args.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
