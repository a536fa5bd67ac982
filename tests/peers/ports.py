"""Ports that stay free until the server under test binds them."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

# Below the kernel's ephemeral range (32768 on), so no client socket of any test can be given one of these.
FIRST, LAST = 20000, 32000


@contextlib.contextmanager
def reserved(host: str = "127.0.0.1") -> Iterator[int]:
    """A port on which nothing listens by UDP or TCP, and which no other test run of this machine takes meanwhile.

    The reservation is a name among the abstract Unix sockets: the kernel drops it with the process that holds it.
    """
    for port in random.sample(range(FIRST, LAST), 200):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lease:
            try:
                lease.bind(f"\0shardns-test-port-{port}")
                _check(host, port)
            except OSError:
                continue
            yield port
            return
    raise OSError(f"no free port between {FIRST} and {LAST} on {host}")


def _check(host: str, port: int) -> None:
    """Nothing; raises OSError where UDP or TCP is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
