"""The servers that are measured: each a caching forwarder in front of one cheap nameserver, each pinned to a processor.

The peers' configurations are in perf/peers. The nameserver (nameserver.c) gives every name an address that follows from
it, so that any number of names exists and every answer can be checked.
"""

from __future__ import annotations

import compileall
import contextlib
import functools
import os
import shlex
import shutil
import socket
import string
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import dns.message

from tests.peers.ports import reserved
from tests.peers.process import running

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "perf" / "peers"
BUILT = ROOT / "build" / "perf"
ZONE = "perf.test."
TTL_S = 3600
REPLY_OCTETS = 54  # of an answer to a name as long as those of perf.load, with its one A record
SERVER_CPU, LOAD_CPU = "0", "1"
BOTH_CPUS = "0,1"
PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT, FRAME = 1 << 63, (1 << 55) - 1  # of an entry of /proc/PID/pagemap
COREFILE = """\
.:{port} {{
    errors
    cache 3600
    bind 127.0.0.1
    forward . 127.0.0.1:{upstream} {{
        force_tcp
    }}{more}
}}
"""
# As on a node: health is polled, the Corefile is looked at, Prometheus may come.
NODE_PLUGINS = """
    reload
    loop
    prometheus 127.0.0.2:{port}
    health 127.0.0.3:{port}"""


class Wrong(Exception):  # noqa: N818 - a finding
    """Replies were missing or wrong, or it was not what it says that was measured: no figure may come of such a run."""


class Missing(Exception):  # noqa: N818 - not an error: a peer that is not installed is left out
    """The program of a peer is not on this machine."""


@dataclass(frozen=True)
class Site:
    """Where servers are started: a directory for their files, the nameserver behind them."""

    directory: Path
    upstream: int
    server_cpu: str = SERVER_CPU
    threads: int = 1  # of each server: workers of shardns
    cgroup: Path | None = None  # whose CPU quota the servers live under
    is_node: bool = False  # the plugins and the size of the cache that a node has

    def on(self, cpus: str, threads: int) -> Site:
        """The same with other processors."""
        return replace(self, server_cpu=cpus, threads=threads)

    def as_node(self, threads: int) -> Site:
        """The same with servers as a node has them, on all processors."""
        return replace(self, server_cpu=BOTH_CPUS, threads=threads, is_node=True)


@dataclass(frozen=True)
class Server:
    """One running server."""

    name: str
    port: int
    pid: int  # its first process; the others are its descendants
    upstream: int  # port of the nameserver behind it

    def pids(self) -> list[int]:
        """All of its processes."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += [int(child) for child in task.read_text().split()]
        return found

    def asked(self) -> int:
        """Queries that the nameserver has had so far, from all servers: idle ones ask nothing or little."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", self.upstream))
            sock.send(b"?")
            return int.from_bytes(sock.recv(8))

    def check_pinned(self, cpus: str) -> None:
        """Nothing; raises Wrong when a thread of it may run elsewhere, such as on the load generator's processor."""
        allowed = {int(cpu) for cpu in cpus.split(",")}
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    if not os.sched_getaffinity(int(task.name)) <= allowed:
                        raise Wrong(f"{self.name}: a thread of process {pid} is not pinned to processor {cpus}")

    def cpu_by_pid(self) -> dict[int, float]:
        """User plus system seconds so far of each process, all its threads together (schedstat, in nanoseconds)."""
        found = {}
        for pid in self.pids():
            total_ns = 0
            for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total_ns += int(stat.read_text().split()[0])
            found[pid] = total_ns / 1e9
        return found

    def cpu_s(self) -> float:
        """User plus system seconds so far of all of it."""
        return sum(self.cpu_by_pid().values())

    def pss_mib(self) -> dict[int, float]:
        """Proportional set size of each process: what is shared, shared memory included, counts once in the sum."""
        found = {}
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found[pid] = int(line.split()[1]) / 1024
        return found

    def pages_mib(self) -> float:
        """All physical pages it has mapped, each counted once, whoever else has them, too; root only.

        PSS divides what others map as well: here that is this suite's own interpreter, which no node has.
        """
        frames: set[int] = set()
        for pid in self.pids():
            with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
                for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                    begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                    pagemap.seek(begin // PAGE * 8)
                    entries = array("Q", pagemap.read((end - begin) // PAGE * 8) if end < 1 << 63 else b"")
                    frames.update(entry & FRAME for entry in entries if entry & PRESENT)
        return len(frames) * PAGE / 2**20


# How a server is started: (site, port) -> command and what to add to its environment.
Recipe = Callable[[Site, int], tuple[list[str], Mapping[str, str]]]


def _filled(site: Site, port: int, file: str) -> Path:
    """The peer's configuration with its placeholders filled in, in a directory of its own."""
    directory = site.directory / f"{file}-{port}"
    directory.mkdir(exist_ok=True)
    text = string.Template((PEERS / file).read_text())
    (directory / file).write_text(
        text.substitute(port=port, upstream=site.upstream, threads=site.threads, directory=directory)
    )
    return directory / file


def _unbound(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
    return ["unbound", "-d", "-p", "-c", str(_filled(site, port, "unbound.conf"))], {}


def _dnsmasq(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
    return ["dnsmasq", f"--conf-file={_filled(site, port, 'dnsmasq.conf')}"], {}


def _named(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
    return ["named", "-f", "-n", str(site.threads), "-c", str(_filled(site, port, "named.conf"))], {}


def _kresd(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
    configuration = _filled(site, port, "kresd.conf")
    return ["kresd", "-n", "-c", str(configuration), str(configuration.parent)], {}


def _dnsdist(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", str(_filled(site, port, "dnsdist.conf"))], {}


def _recursor(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
    return ["pdns_recursor", f"--config-dir={_filled(site, port, 'recursor.conf').parent}"], {}


def _floor(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
    return [str(built("floor")), "127.0.0.1", str(port), str(REPLY_OCTETS), str(site.threads)], {}


def _shardns(site: Site, port: int, tree: Path = ROOT) -> tuple[list[str], Mapping[str, str]]:
    for package in (
        "shardns",
        "supervisor",
    ):  # as installed: else each start would compile, which takes time and memory
        compileall.compile_dir(tree / package, quiet=1)
    corefile = site.directory / f"Corefile-{port}"
    more = NODE_PLUGINS.format(port=port) if site.is_node else ""
    corefile.write_text(COREFILE.format(port=port, upstream=site.upstream, more=more))
    # Without rules on the node, and without a table that outlives the run.
    return [
        str(Path(sys.executable).parent / "shardns"), "--workers", str(site.threads),
        "--cache-size", "32Mi" if site.is_node else "256Mi",
        "-localip", "127.0.0.1", "-dns.port", str(port), "-setupinterface=false", "-setupiptables=false",
        "-conf", str(corefile), "--shm-name", "none", "-metrics-listen-address", f"127.0.0.2:{port}",
        "--control", f"@shardns/perf-{os.getpid()}-{port}", "--log-level", "info", "--log-format", "json",
    ], {}  # fmt: skip


RECIPES: dict[str, Recipe] = {
    "floor": _floor,
    "shardns": _shardns,
    "unbound": _unbound,
    "dnsmasq": _dnsmasq,
    "bind9": _named,
    "knot-resolver": _kresd,
    "dnsdist": _dnsdist,
    "pdns-recursor": _recursor,
}
OTHERS = ("bind9", "knot-resolver", "dnsdist", "pdns-recursor")  # peers that no bound names


def add_peer(name: str, command: str) -> None:
    """Measure another server, by its command line.

    {port}, {upstream}, {directory} and {peers} are filled in; PERF_PORT and PERF_UPSTREAM are in its environment.
    """

    def recipe(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
        values = {"port": port, "upstream": site.upstream, "directory": site.directory, "peers": PEERS}
        words = [word.format_map(values) for word in shlex.split(command)]
        return words, {"PERF_PORT": str(port), "PERF_UPSTREAM": str(site.upstream)}

    RECIPES[name] = recipe


def add_tree(name: str, directory: str) -> None:
    """Measure another checkout of shardns, whose core is built: before and after, in the same rounds."""

    def recipe(site: Site, port: int) -> tuple[list[str], Mapping[str, str]]:
        tree = Path(directory).resolve()
        command, environment = _shardns(site, port, tree)
        return command, {**environment, "PYTHONPATH": str(tree)}

    RECIPES[name] = recipe


def built(name: str) -> Path:
    """The program of perf/NAME.c, compiled when it is older than its sources. Raises CalledProcessError."""
    program = BUILT / name
    sources = [ROOT / "perf" / f"{name}.c", *(ROOT / "perf").glob("*.h")]
    if not program.exists() or program.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        BUILT.mkdir(parents=True, exist_ok=True)
        flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["cc", *flags, "-o", f"{program}.{os.getpid()}", str(sources[0])], check=True)
        Path(f"{program}.{os.getpid()}").rename(program)
    return program


def answers(port: int) -> bool:
    """Whether a query on port is answered, with whatever."""
    query = dns.message.make_query(f"ready.{ZONE}", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(query)
            return sock.recv(4096)[:2] == query[:2]
        except OSError:
            return False


@contextlib.contextmanager
def started(site: Site, name: str) -> Iterator[Server]:
    """The server of that name, once it answers. Raises Missing when its program is not installed."""
    with reserved() as port:
        command, environment = RECIPES[name](site, port)
        if shutil.which(command[0]) is None:
            raise Missing(f"{name}: {command[0]} is not installed")
        pinned = ["taskset", "-c", site.server_cpu, *command]
        if site.cgroup is not None:
            pinned = ["sh", "-c", f'echo $$ >"{site.cgroup}/cgroup.procs" && exec "$@"', "sh", *pinned]
        ready = functools.partial(answers, port)
        with running(name, pinned, directory=site.directory, ready=ready, within_s=30, env=environment) as process:
            prefer(process.pid)
            server = Server(name, port, process.pid, site.upstream)
            server.check_pinned(site.server_cpu)
            yield server


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """A directory that is gone afterwards, and the nameserver, on the load generator's processor."""
    with tempfile.TemporaryDirectory(prefix="shardns-perf-") as path, reserved() as port:
        directory = Path(path)
        command = ["taskset", "-c", LOAD_CPU, str(built("nameserver")), "127.0.0.1", str(port), str(TTL_S)]
        with running("nameserver", command, directory=directory, ready=lambda: answers(port)) as process:
            prefer(process.pid)
            prefer(os.getpid())
            yield Site(directory, port)


def prefer(pid: int) -> None:
    """Put a process's session before the others of a busy machine, where we may.

    It takes the autogroup: where the kernel makes those, a process's own niceness counts only within its session.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-10")


def settle(seconds: float = 0.3) -> None:
    """Let what was just started come to rest."""
    time.sleep(seconds)
