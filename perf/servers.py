"""The servers that are measured, each pinned to one processor, a caching forwarder in front of one upstream.

The upstream answers every name under perf.test. with one A record, over UDP and TCP, so that any number of distinct
names exists.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message

from tests.peers.ports import reserved
from tests.peers.process import running

ROOT = Path(__file__).resolve().parent.parent
ZONE = "perf.test."
REPLY_OCTETS = 63
"""Of an answer to a name as long as those in load.names, with its one A record."""
SERVER_CPU, LOAD_CPU = "0", "1"

UPSTREAM = """\
server:
    interface: 127.0.0.1@{port}
    port: {port}
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    access-control: 127.0.0.0/8 allow
    num-threads: 1
    incoming-num-tcp: 100
    local-zone: "{zone}" redirect
    local-data: "{zone} 3600 IN A 192.0.2.1"
"""
UNBOUND = """\
server:
    interface: 127.0.0.1@{port}
    port: {port}
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    access-control: 127.0.0.0/8 allow
    num-threads: 1
    so-reuseport: yes
    so-rcvbuf: 4m
    msg-cache-size: 64m
    rrset-cache-size: 128m
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "test." nodefault
    minimal-responses: yes
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
"""
COREFILE = """\
.:{port} {{
    errors
    cache 3600
    bind 127.0.0.1
    forward . 127.0.0.1:{upstream} {{
        force_tcp
    }}
}}
"""


@dataclass(frozen=True)
class Server:
    """One server under test."""

    name: str
    port: int
    pid: int  # its first process; the others are its descendants

    def pids(self) -> list[int]:
        """All of its processes."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += [int(child) for child in task.read_text().split()]
        return found

    def cpu_s(self) -> float:
        """User plus system time so far of all threads of all processes."""
        total_ns = 0
        for pid in self.pids():
            for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total_ns += int(stat.read_text().split()[0])
        return total_ns / 1e9


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
def _started(name: str, port: int, command: list[str], directory: Path) -> Iterator[Server]:
    pinned = ["taskset", "-c", SERVER_CPU, *command]
    with running(name, pinned, directory=directory, ready=lambda: answers(port), within_s=20) as process:
        yield Server(name, port, process.pid)


@contextlib.contextmanager
def upstream(directory: Path) -> Iterator[int]:
    """The nameserver behind all of them, on the load generator's processor; its port."""
    with reserved() as port:
        (directory / "upstream.conf").write_text(UPSTREAM.format(port=port, zone=ZONE))
        command = ["taskset", "-c", LOAD_CPU, "unbound", "-d", "-p", "-c", str(directory / "upstream.conf")]
        with running("upstream", command, directory=directory, ready=lambda: answers(port)):
            yield port


@contextlib.contextmanager
def floor(directory: Path) -> Iterator[Server]:
    """The bare responder: what the kernel costs (floor.c)."""
    program = directory / "floor"
    source = ROOT / "perf" / "floor.c"
    subprocess.run(["cc", "-std=c11", "-O2", "-o", str(program), str(source)], check=True)
    with (
        reserved() as port,
        _started("floor", port, [str(program), "127.0.0.1", str(port), str(REPLY_OCTETS)], directory) as server,
    ):
        yield server


@contextlib.contextmanager
def unbound(directory: Path, upstream_port: int) -> Iterator[Server]:
    """unbound as its manual says for one core: one thread, SO_REUSEPORT, no validation."""
    with reserved() as port:
        (directory / "unbound.conf").write_text(UNBOUND.format(port=port, upstream=upstream_port))
        with _started(
            "unbound", port, ["unbound", "-d", "-p", "-c", str(directory / "unbound.conf")], directory
        ) as server:
            yield server


@contextlib.contextmanager
def shardns(directory: Path, upstream_port: int, *, workers: int = 1) -> Iterator[Server]:
    """shardns with force_tcp, as it stands before kube-dns."""
    with reserved() as port, reserved() as metrics:
        corefile = directory / "Corefile"
        corefile.write_text(COREFILE.format(port=port, upstream=upstream_port))
        command = [
            str(Path(sys.executable).parent / "shardns"), "--workers", str(workers),
            "-localip", "127.0.0.1", "-dns.port", str(port), "-setupinterface=false", "-setupiptables=false",
            "-conf", str(corefile), "--shm-name", f"perf-{os.getpid()}-{port}",
            "-metrics-listen-address", f"127.0.0.1:{metrics}", "--cache-size", "256Mi", "--log-level", "warning",
        ]  # fmt: skip
        with _started("shardns", port, command, directory) as server:
            yield server


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A place for configurations and logs, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="shardns-perf-") as path:
        yield Path(path)


def settle() -> None:
    """Let what was just started come to rest."""
    time.sleep(0.3)
