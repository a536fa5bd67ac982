"""CPU of asking: microseconds per query that the exchange's Pool costs its process, system calls included.

    python perf/exchange_miss.py [--queries N] [--batch N] [--window N] [--loop asyncio|uvloop] [--transport tcp|udp]

A forked process answers on loopback with a fixed record, so cheaply that it is not the limit. The client asks in
batches, as the upstream process does when it empties its rings, and keeps a window of queries open. Bounded: 20,000
queries by default, a second or two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import struct
import sys
from pathlib import Path
from time import monotonic, process_time

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from shardns.dns import message, names
from shardns.exchange import Outcome, Pool, PoolConfig, PoolStats, Upstream

RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + bytes((192, 0, 2, 1))


def serve_tcp(listener: socket.socket) -> None:
    """Answer every query of every connection; one thread, select-driven; ends when killed."""
    import selectors  # noqa: PLC0415 - the server's process only

    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    tails: dict[socket.socket, bytes] = {}
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                tails[connection] = b""
                continue
            chunk = sock.recv(262144)
            if not chunk:
                selector.unregister(sock)
                sock.close()
                continue
            answers, tails[sock] = answer_all(tails[sock] + chunk)
            sock.sendall(answers)


def answer_all(data: bytes) -> tuple[bytes, bytes]:
    """The answers to all whole frames in data, and the rest of it."""
    out = []
    off = 0
    while off + 2 <= len(data):
        size = data[off] << 8 | data[off + 1]
        if off + 2 + size > len(data):
            break
        query = data[off + 2 : off + 2 + size]
        out.append(struct.pack("!H", size + len(RECORD)) + answer(query))
        off += 2 + size
    return b"".join(out), data[off:]


def answer(query: bytes) -> bytes:
    """One A record for the question."""
    return query[:2] + b"\x85\x80\0\1\0\1\0\0\0\0" + query[12:] + RECORD


def serve_udp(sock: socket.socket) -> None:
    """Answer every datagram; ends when killed."""
    while True:
        query, address = sock.recvfrom(4096)
        sock.sendto(answer(query), address)


class Run:
    """Keeps `window` queries open, asking `batch` at a time, until `total` are answered."""

    def __init__(self, pool: Pool, total: int, batch: int, window: int) -> None:
        self.pool = pool
        self.total = total
        self.batch = batch
        self.window = window
        self.asked = self.answered = self.failed = 0
        self.finished = asyncio.get_running_loop().create_future()
        self.queries = [message.query(names.to_wire(f"n{n}.bench.example.org."), 1, id=0) for n in range(total)]

    def refill(self) -> None:
        """Ask whole batches while the window has room."""
        while self.asked < self.total and self.asked - self.answered + self.batch <= self.window:
            for query in self.queries[self.asked : self.asked + self.batch]:
                self.pool.ask(query, True, self.done)
            self.asked += self.batch

    def done(self, outcome: Outcome) -> None:
        """Count one answer."""
        self.answered += 1
        if outcome.wire is None:
            self.failed += 1
        if self.answered == self.total:
            self.finished.set_result(None)
        elif self.asked - self.answered + self.batch <= self.window:
            self.refill()


async def measure(port: int, args: argparse.Namespace) -> None:
    """Run a short warm-up, then the measured queries."""
    config = PoolConfig((Upstream.at("127.0.0.1", port),), force_tcp=args.transport == "tcp", prefer_udp=True)
    stats = PoolStats()
    pool = Pool(config, stats, loop=asyncio.get_running_loop())
    for total in (1000, args.queries):
        run = Run(pool, total, args.batch, args.window)
        cpu, wall = process_time(), monotonic()
        run.refill()
        await run.finished
        cpu, wall = process_time() - cpu, monotonic() - wall
    counts = stats.of(config.upstreams[0].label)
    print(
        f"{args.transport} {args.loop}: {cpu / total * 1e6:.2f} us CPU per query, {total / wall:,.0f} queries/s, "
        f"{run.failed} failed, {counts.dials} dials, {counts.hedges} hedges"
    )
    await pool.close()


def main() -> None:
    """Fork the server, measure, kill it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp")
    args = parser.parse_args()
    kind = socket.SOCK_STREAM if args.transport == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    if args.transport == "tcp":
        sock.listen(64)
    child = os.fork()
    if not child:
        (serve_tcp if args.transport == "tcp" else serve_udp)(sock)
    try:
        if args.loop == "uvloop":
            import uvloop  # noqa: PLC0415 - an option

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(measure(sock.getsockname()[1], args))
        else:
            asyncio.run(measure(sock.getsockname()[1], args))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
