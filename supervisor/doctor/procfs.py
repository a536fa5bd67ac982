"""Sockets and processes as /proc shows them (proc(5)). What may not be seen is left out."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.doctor.facts import ProcessSeen, Protocol, SocketSeen

PROC: Final = Path("/proc")
_TABLES: Final[tuple[tuple[str, Protocol], ...]] = (("udp", "udp"), ("udp6", "udp"), ("tcp", "tcp"), ("tcp6", "tcp"))
_READS: Final = 3
_LISTENS: Final = "0A"  # TCP_LISTEN
_TITLE: Final = "shardns: "


@dataclass(frozen=True, slots=True)
class Bound:
    """A line of /proc/net/udp or tcp."""

    protocol: Protocol
    host: str
    port: int
    inode: int


def bound(ports: Iterable[int], proc: Path = PROC) -> list[Bound]:
    """Every UDP socket bound to one of the ports, and every TCP socket that listens there.

    While sockets of others come and go, a table shows some twice or not at all: it is read again, and each counts once.
    """
    wanted = frozenset(ports)
    found: dict[int, Bound] = {}
    for name, protocol in _TABLES * _READS:
        try:
            with (proc / "net" / name).open() as table:
                next(table, "")
                found.update((one.inode, one) for one in _bound(table, protocol) if one.port in wanted)
        except OSError:
            continue  # a kernel without IPv6
    return list(found.values())


def _bound(table: Iterable[str], protocol: Protocol) -> Iterator[Bound]:
    """The lines as sockets. The kernel lists TCP's listeners first: what comes behind is not read."""
    for line in table:
        words = line.split()
        if protocol == "tcp" and words[3] != _LISTENS:
            return
        host, _, port = words[1].partition(":")
        yield Bound(protocol, address(host), int(port, 16), int(words[9]))


def address(text: str) -> str:
    """An address from its words, which are in this machine's byte order."""
    octets = bytes.fromhex(text)
    count = len(octets) // 4
    return str(ipaddress.ip_address(struct.pack(f">{count}I", *struct.unpack(f"={count}I", octets))))


def sockets(found: Iterable[Bound], supervisor: int, proc: Path = PROC) -> tuple[SocketSeen, ...]:
    """Each with its owner. supervisor: the pid of ours; 0: not known."""
    found = list(found)
    ours = inodes(supervisor, proc) if supervisor else None
    strangers = {one.inode for one in found if ours is None or one.inode not in ours}
    owners = _owners(strangers, proc) if strangers else {}
    return tuple(
        SocketSeen(
            one.protocol,
            one.host,
            one.port,
            None if ours is None else one.inode in ours,
            owners.get(one.inode, ""),
        )
        for one in found
    )


def inodes(pid: int, proc: Path = PROC) -> frozenset[int] | None:
    """The sockets that a process holds; None if we may not look."""
    found: set[int] = set()
    try:
        for descriptor in (proc / str(pid) / "fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except OSError:
        return None
    return frozenset(found)


def processes(supervisor: int, proc: Path = PROC) -> tuple[ProcessSeen, ...]:
    """The children of the supervisor with the titles that shardns gives them."""
    found: list[ProcessSeen] = []
    try:
        children = (proc / str(supervisor) / "task" / str(supervisor) / "children").read_text().split()
    except OSError:
        return ()
    for pid in map(int, children):
        title, stat = _title(pid, proc), _stat(pid, proc)
        if title.startswith(_TITLE) and stat:
            found.append(ProcessSeen(pid, title.removeprefix(_TITLE), stat[0]))
    return tuple(found)


def supervisor_of(pid: int, proc: Path = PROC) -> int:
    """The supervisor, given its own pid or a child's; 0 for what is neither, or is not seen from here."""
    for _ in ("itself", "its parent"):
        if _title(pid, proc) == f"{_TITLE}supervisor":
            return pid
        pid = int((_stat(pid, proc) or ("", "0"))[1])
    return 0


def _owners(wanted: set[int], proc: Path) -> dict[int, str]:
    """Name and pid of a process for each socket; those of processes that we may not look into are missing."""
    found: dict[int, str] = {}
    for path in proc.glob("[0-9]*"):
        pid = int(path.name)
        for inode in wanted & (inodes(pid, proc) or frozenset()):
            found.setdefault(inode, f"{_name(pid, proc)} (pid {pid})")
        if len(found) == len(wanted):
            break
    return found


def _title(pid: int, proc: Path) -> str:
    """What ps shows; empty for a process that is gone."""
    try:
        return (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _stat(pid: int, proc: Path) -> list[str]:
    """Its state, its parent, and more (proc(5)); empty for a process that is gone."""
    try:
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _name(pid: int, proc: Path) -> str:
    """The program's name."""
    title = _title(pid, proc)
    if title.startswith(_TITLE):
        return title
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return "?"
