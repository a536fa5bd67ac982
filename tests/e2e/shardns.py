"""The whole program, started as an operator starts it, on ports of its own, and watched from outside."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.peers import ports
from tests.peers.process import Process, running, session, wait_until

PROGRAM = str(Path(sys.executable).with_name("shardns"))
SHM = Path("/dev/shm")
STOP_S = 15.0  # to end after SIGTERM; lameduck of the Corefile comes on top
_numbers = itertools.count()

# What most tests serve: words in capitals are filled in by the launcher.
STOCK = """
. {
    bind 127.0.0.1
    errors
    cache 30
    forward . UPSTREAM {
        force_tcp
    }
    prometheus METRICS
    health HEALTH
    ready READY
}
"""


class Page:
    """A metrics page, parsed."""

    def __init__(self, text: str) -> None:
        """text is the page in Prometheus's format."""
        self.text = text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of every sample of that name whose labels include these; 0 where there is none."""
        wanted = labels.items()
        return sum(sample.value for sample in self.samples if sample.name == name and wanted <= sample.labels.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of every sample of that name."""
        return [dict(sample.labels) for sample in self.samples if sample.name == name]


@dataclass
class Shardns:
    """A running shardns. places are host:port by the word in the Corefile that stands for it."""

    process: Process
    host: str
    port: int
    corefile: Path
    places: Mapping[str, str]
    shm_name: str
    control: str
    pid_file: Path
    ended: bool = field(default=False)

    def pids(self) -> dict[str, int]:
        """The processes by role: "supervisor", "upstream", "worker 0" ... During a reload the newest of each."""
        found = {"supervisor": self.process.pid}
        for pid in sorted(children(self.process.pid)):
            title = command_line(pid)
            if title.startswith("shardns: "):
                found[title.removeprefix("shardns: ")] = pid
        return found

    def scrape(self) -> Page:
        """The metrics page as it is now."""
        return Page(self.http("METRICS", "/metrics")[1])

    def http(self, place: str, path: str) -> tuple[int, str]:
        """Status and body of a GET at one of the places; (0, reason) where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.places[place]}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def events(self, name: str = "") -> list[dict[str, object]]:
        """The log's JSON lines, of one event or of all."""
        found = [json.loads(line) for line in self.process.output().splitlines() if line.startswith("{")]
        return [event for event in found if not name or event["event"] == name]

    def plain(self, pattern: str = "") -> list[str]:
        """The log's lines in CoreDNS's own format that match."""
        lines = [line for line in self.process.output().splitlines() if line.startswith("[")]
        return [line for line in lines if re.search(pattern, line)]

    def wait_event(self, name: str, count: int = 1, within_s: float = 10) -> None:
        """Nothing, once the log has so many events of that name. Raises TimeoutError."""
        wait_until(lambda: len(self.events(name)) >= count, within_s=within_s, what=f"{count} {name}")

    def wait_plain(self, pattern: str, count: int = 1, within_s: float = 5) -> list[str]:
        """The matching lines, once there are so many. Raises TimeoutError."""
        wait_until(lambda: len(self.plain(pattern)) >= count, within_s=within_s, what=f"{count} lines like {pattern!r}")
        return self.plain(pattern)

    def write(self, text: str) -> None:
        """Nothing; the Corefile says this now. It replaces the old one at once, as a ConfigMap's symlink does."""
        new = self.corefile.with_suffix(".new")
        new.write_text(filled(text, self.places))
        new.replace(self.corefile)

    def reload(self, text: str) -> None:
        """Nothing, once a Corefile of this text is served."""
        done = len(self.events("generation.drained"))
        self.write(text)
        os.kill(self.process.pid, signal.SIGUSR1)
        self.wait_event("generation.drained", done + 1)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, code: int = 0, within_s: float = STOP_S) -> None:
        """Nothing; it has ended with that code and has left no process, no zombie and no memory but its table."""
        self.ended = True
        os.kill(self.process.pid, number)
        assert self.process.wait(within_s) == code, self.process.tail()
        wait_until(lambda: not session(self.process.pid), within_s=2, what="no process to be left")
        assert number is signal.SIGKILL or not self.pid_file.exists()
        left = [path.name for path in SHM.glob(f"*{self.shm_name}*") if path.name != self.shm_name]
        assert not left


@contextlib.contextmanager
def shardns(
    directory: Path,
    corefile: str = STOCK,
    *,
    upstream: str = "127.0.0.1:9",
    host: str = "127.0.0.1",
    port: int = 0,
    workers: int = 2,
    flags: Sequence[str] = (),
    places: Mapping[str, str] | None = None,
    shm_name: str = "",
    env: Mapping[str, str] | None = None,
) -> Iterator[Shardns]:
    """A shardns that serves corefile, from the moment it says that it serves to its clean end.

    upstream   "host:port ..." in place of UPSTREAM; METRICS, HEALTH and READY get ports of 127.0.0.1; places adds words
    port       of DNS; 0 takes a free one
    shm_name   of its table; one that a test names stays when it ends
    """
    with contextlib.ExitStack() as stack:
        number = next(_numbers)
        home = directory / f"shardns-{number}"
        home.mkdir(parents=True, exist_ok=True)
        port = port or stack.enter_context(ports.reserved())
        known = {word: f"127.0.0.1:{stack.enter_context(ports.reserved())}" for word in ("METRICS", "HEALTH", "READY")}
        known |= {"UPSTREAM": upstream, **(places or {})}
        path = home / "Corefile"
        path.write_text(filled(corefile, known))
        name = shm_name or f"shardns-test-{os.getpid()}-{number}"
        if not shm_name:
            stack.callback((SHM / name).unlink, missing_ok=True)
        control, pid_file = f"@{name}", home / "pid"
        own = ["-workers", str(workers), "-dns.port", str(port), "-metrics-listen-address", ""]
        own += ["-shm-name", name, "-control", control, "-pidfile", str(pid_file), *flags]
        program = running(
            "shardns", [*command(path, host), *own], directory=home, ready=pid_file.exists, within_s=20, env=env
        )
        process = stack.enter_context(program)
        made = Shardns(process, host, port, path, known, name, control, pid_file)
        yield made
        if not made.ended:
            made.stop()


def command(corefile: Path, host: str = "127.0.0.1") -> list[str]:
    """The start of a command line that serves corefile without touching the host's network."""
    return [PROGRAM, "-conf", str(corefile), "-localip", host, "-setupinterface=false", "-setupiptables=false"]


def filled(text: str, places: Mapping[str, str]) -> str:
    """The text with every word of places in place of its name."""
    for word, place in places.items():
        text = re.sub(rf"\b{word}\b", place, text)
    return text


def run(*args: str, text: str | None = None, timeout_s: float = 30) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a shardns command that ends by itself."""
    done = subprocess.run([PROGRAM, *args], input=text, capture_output=True, text=True, timeout=timeout_s, check=False)
    return done.returncode, done.stdout, done.stderr


def children(pid: int) -> list[int]:
    """The children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def command_line(pid: int) -> str:
    """A process's title as ps shows it; empty for one that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds that the processes have used, in user and kernel mode."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
