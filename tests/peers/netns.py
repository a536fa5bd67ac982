"""Network namespaces joined by veth pairs: hosts of our own on one machine. Needs root."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_numbers = itertools.count()
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Namespace:
    """A network namespace; its loopback is up. resolv.conf and nsswitch.conf can be its own."""

    name: str
    links: list[str] = field(default_factory=list)

    def command(self, *args: str) -> tuple[str, ...]:
        """Args as they are run inside; /etc/netns/NAME/* stands over /etc/* there (ip-netns(8))."""
        return ("ip", "netns", "exec", self.name, *args)

    def run(self, *args: str, check: bool = True, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        """The finished command, run inside."""
        return subprocess.run(self.command(*args), capture_output=True, text=True, check=check, timeout=timeout_s)

    def write_etc(self, name: str, text: str) -> None:
        """Nothing; /etc/NAME as processes started inside from now on see it."""
        folder = Path("/etc/netns", self.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def add_address(self, address: str, link: str = "lo") -> None:
        """Nothing; address ("192.0.2.1/32") is on link, usable at once (no duplicate address detection)."""
        extra = ("nodad",) if ":" in address else ()
        self.run("ip", "address", "add", address, "dev", link, *extra)


def can_make() -> str:
    """Why namespaces cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    if shutil.which("ip") is None:
        return "needs iproute2"
    return ""


@contextlib.contextmanager
def namespace(label: str = "ns") -> Iterator[Namespace]:
    """A new namespace, gone with its links at the end, with everything started inside killed by pid."""
    made = Namespace(f"shd-{os.getpid()}-{next(_numbers)}-{label}")
    _ip("netns", "add", made.name)
    try:
        _ip("-n", made.name, "link", "set", "lo", "up")
        yield made
    finally:
        for pid in _ip("netns", "pids", made.name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        _ip("netns", "delete", made.name)
        shutil.rmtree(Path("/etc/netns", made.name), ignore_errors=True)


@contextlib.contextmanager
def entered(made: Namespace) -> Iterator[None]:
    """The calling thread's network is that of the namespace, and so is that of every socket and process it makes.

    Sockets stay there afterwards; other threads of the process stay where they were. /etc is not changed (run is).
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{made.name}", os.O_RDONLY)
    try:
        _setns(other)
        yield
    finally:
        _setns(own)
        os.close(own)
        os.close(other)


def counter(group: str, name: str) -> int:
    """A number of the calling thread's network (/proc/net/snmp): "Tcp", "ActiveOpens" are its dials."""
    lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    heads, values = (line.split()[1:] for line in lines if line.startswith(f"{group}:"))
    return int(dict(zip(heads, values, strict=True))[name])


def _setns(fd: int) -> None:
    """Nothing; the calling thread is in the network namespace of fd."""
    if _libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def join(left: Namespace, left_address: str, right: Namespace, right_address: str) -> tuple[str, str]:
    """The names of a veth pair's ends, up, each with its address ("192.0.2.1/24"), between two namespaces."""
    number = next(_numbers)
    ends = (f"vl{os.getpid() % 100000}-{number}", f"vr{os.getpid() % 100000}-{number}")
    _ip("-n", left.name, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", right.name)
    for side, link, address in ((left, ends[0], left_address), (right, ends[1], right_address)):
        side.add_address(address, link)
        _ip("-n", side.name, "link", "set", link, "up")
        side.links.append(link)
    return ends


def _ip(*args: str) -> str:
    """What ip prints. Raises CalledProcessError, with ip's own words as a note."""
    try:
        return subprocess.run(["ip", *args], capture_output=True, text=True, check=True, timeout=20).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
