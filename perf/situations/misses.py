"""Many clients ask at one moment for what nobody has asked before."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from perf.situations import Figure
from tests.e2e import shardns as program
from tests.peers import fake, wire


def identical_misses(directory: Path, scale: float) -> list[Figure]:
    """300 clients ask for one missing name within some milliseconds; the nameserver takes 100 ms."""
    del scale
    with fake.nameserver(delay_s=0.1) as server:
        with program.shardns(directory, upstream=f"127.0.0.1:{server.port}") as made:
            right, last_s = ask_at_once(made.port, ["one.example.org"] * 300)
        return [
            Figure("clients that ask for the same name", 300),
            Figure("answered rightly", right, at_least=300),
            Figure("upstream queries", server.names[wire.name("one.example.org")], at_most=1),
            Figure("last answer after", round(last_s * 1000), "ms"),
        ]


def distinct_misses(directory: Path, scale: float) -> list[Figure]:
    """500 clients ask for 500 missing names within some milliseconds; by TCP the nameserver takes 100 ms for each."""
    del scale
    names = [f"n{n}.example.org" for n in range(500)]
    with fake.nameserver(delay_s=0.1) as server:
        with program.shardns(directory, upstream=f"127.0.0.1:{server.port}") as made:
            right, last_s = ask_at_once(made.port, names)
        return [
            Figure("clients that ask for different names", 500),
            Figure("answered rightly", right, at_least=500),
            Figure("upstream queries by TCP", server.tcp),
            Figure("upstream queries by UDP", server.udp, at_most=0),
            Figure("upstream TCP connections ever opened", server.connections, at_most=4),
            Figure("last answer after", round(last_s * 1000), "ms"),
        ]


def ask_at_once(port: int, names: list[str], wait_s: float = 6) -> tuple[int, float]:
    """How many of the names were answered with their own address, and when the last was; each from a socket of its own.

    A client never asks twice.
    """
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in names]
    for sock in sockets:
        sock.connect(("127.0.0.1", port))
    began = time.monotonic()
    for n, (sock, name) in enumerate(zip(sockets, names, strict=True)):
        sock.send(wire.query(name, ident=n))
    right, last = 0, began
    for n, (sock, name) in enumerate(zip(sockets, names, strict=True)):
        sock.settimeout(max(0.01, began + wait_s - time.monotonic()))
        try:
            reply = sock.recv(4096)
        except TimeoutError:
            continue
        finally:
            sock.close()
        right += reply[:2] == n.to_bytes(2) and reply.endswith(fake.address_of(wire.name(name)))
        last = time.monotonic()
    return right, last - began
