"""Sockets and processes, from a /proc made of files and from the real one."""

import os
import socket
import sys

import pytest

from supervisor.doctor import procfs
from supervisor.doctor.facts import ProcessSeen, SocketSeen

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {at} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0\n"


def words(octets):
    """An address as this machine's kernel prints it."""
    parts = [octets[n : n + 4] for n in range(0, len(octets), 4)]
    return "".join(f"{int.from_bytes(part, sys.byteorder):08X}" for part in parts)


V4 = words(bytes([127, 0, 0, 1]))
V6 = words(socket.inet_pton(socket.AF_INET6, "fd00::10"))


def proc(root, net=None, titles=None, children=(), states=None, fds=None):
    """A /proc: tables of sockets, titles by pid, the children of 7, open sockets by pid."""
    for name, lines in (net or {}).items():
        path = root / "net" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD + "".join(LINE.format(at=at, state=state, inode=inode) for at, state, inode in lines))
    for pid, title in (titles or {}).items():
        folder = root / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "cmdline").write_bytes(title.encode() + b"\0")
        (folder / "comm").write_text("python3\n")
        parent = 7 if pid in children else 1
        (folder / "stat").write_text(f"{pid} (a (b) c) {(states or {}).get(pid, 'S')} {parent} 0 0\n")
    if children:
        folder = root / "7/task/7"
        folder.mkdir(parents=True)
        (folder / "children").write_text(" ".join(map(str, children)))
    for pid, inodes in (fds or {}).items():
        for n, inode in enumerate(inodes):
            (root / str(pid) / "fd" / str(n)).symlink_to(f"socket:[{inode}]")
        (root / str(pid) / "fd" / "99").symlink_to("/dev/null")
    return root


@pytest.mark.parametrize("text, wanted", [(V4, "127.0.0.1"), (V6, "fd00::10"), (words(bytes(16)), "::")])
def test_address(text, wanted):
    """The kernel prints addresses as words in its own byte order."""
    assert procfs.address(text) == wanted


def test_bound(tmp_path):
    """UDP sockets and TCP listeners of the wanted ports, each once; nothing is read behind the first that is none."""
    net = {
        "udp": [(f"{V4}:0035", "07", 11), (f"{V4}:0036", "07", 12), (f"{V4}:0035", "07", 11)],
        "udp6": [(f"{V6}:0035", "07", 13)],
        "tcp": [(f"{V4}:0035", "0A", 14), (f"{V4}:0035", "01", 15), (f"{V4}:0035", "0A", 16)],
    }
    found = procfs.bound([53], proc(tmp_path, net))
    assert [(one.protocol, one.host, one.port, one.inode) for one in found] == [
        ("udp", "127.0.0.1", 53, 11),
        ("udp", "fd00::10", 53, 13),
        ("tcp", "127.0.0.1", 53, 14),
    ]


def test_sockets(tmp_path):
    """What the supervisor holds is ours; the holder of any other is named where it can be seen."""
    root = proc(
        tmp_path,
        {"udp": [(f"{V4}:0035", "07", 11), (f"{V4}:0035", "07", 12), (f"{V4}:0035", "07", 13)]},
        titles={7: "shardns: supervisor", 20: "/usr/sbin/dnsmasq -k"},
        fds={7: [11], 20: [12]},
    )
    bound = procfs.bound([53], root)
    assert procfs.sockets(bound, 7, root) == (
        SocketSeen("udp", "127.0.0.1", 53, True, ""),
        SocketSeen("udp", "127.0.0.1", 53, False, "python3 (pid 20)"),
        SocketSeen("udp", "127.0.0.1", 53, False, ""),
    )
    assert [one.is_ours for one in procfs.sockets(bound, 0, root)] == [None, None, None]
    assert [one.is_ours for one in procfs.sockets(bound, 99, root)] == [None, None, None]


def test_processes(tmp_path):
    """The supervisor's children by their titles, with their states; helpers without a title are left out."""
    root = proc(
        tmp_path,
        titles={7: "shardns: supervisor", 8: "shardns: upstream", 9: "shardns: worker 0", 10: "iptables-save"},
        children=[8, 9, 10, 11],
        states={9: "T"},
    )
    assert procfs.processes(7, root) == (ProcessSeen(8, "upstream", "S"), ProcessSeen(9, "worker 0", "T"))
    assert procfs.processes(6, root) == ()


@pytest.mark.parametrize("pid, wanted", [(7, 7), (8, 7), (20, 0), (0, 0), (99, 0)])
def test_supervisor_of(tmp_path, pid, wanted):
    """The supervisor is found from itself and from a child, and from nothing else."""
    titles = {7: "shardns: supervisor", 8: "shardns: upstream", 20: "nginx"}
    assert procfs.supervisor_of(pid, proc(tmp_path, titles=titles, children=[8])) == wanted


def test_ourselves():
    """The real /proc shows our own sockets as ours, and names us to others."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp, socket.create_server(("127.0.0.1", 0)) as tcp:
        udp.bind(("::1", 0))
        ports = {udp.getsockname()[1], tcp.getsockname()[1]}
        bound = [one for one in procfs.bound(ports) if one.inode in (procfs.inodes(os.getpid()) or ())]
        assert sorted((one.protocol, one.host) for one in bound) == [("tcp", "127.0.0.1"), ("udp", "::1")]
        assert all(one.is_ours for one in procfs.sockets(bound, os.getpid()))
        assert all(f"(pid {os.getpid()})" in one.owner for one in procfs.sockets(bound, 0))
