"""A steady load of queries by UDP, each answer checked against its name: what was lost, what was wrong, how late.

    python -m tests.peers.load --port 5300 --rate 1000 --seconds 5 --hot 200     200 names in turn
    python -m tests.peers.load --port 5300 --rate 500 --seconds 5                a new name each time

Open loop: a query is sent when its time has come, whatever became of those before, and its latency counts from that
time. It never repeats a query: lost is lost. It is a process of its own, so that the test's own work does not slow it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import selectors
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

from tests.peers.fake import address_of

SOCKETS = 64  # source ports, so that every SO_REUSEPORT worker gets its share
_QUERY = struct.Struct("!HHHHHH")


@dataclass(frozen=True)
class Result:
    """What became of the queries; times in milliseconds, of those that were answered rightly."""

    sent: int
    answered: int
    wrong: int  # answers with another rcode or another name's address
    lost: int  # not answered within the time-out after the last was sent
    p50_ms: float
    p99_ms: float
    max_ms: float
    first_wrong: str = ""
    twice: int = 0  # right answers that came once more, as after a kill between sending and noting it


def start(
    port: int,
    *,
    rate: float,
    seconds: float,
    hot: int = 0,
    prefix: str = "n",
    domain: str = "example.org",
    wait_s: float = 6,
) -> subprocess.Popen[str]:
    """The running load; result() waits for what it has to say."""
    command = [sys.executable, "-m", "tests.peers.load", "--port", str(port), "--rate", str(rate)]
    command += ["--seconds", str(seconds), "--hot", str(hot), "--prefix", prefix, "--domain", domain]
    return subprocess.Popen([*command, "--wait", str(wait_s)], stdout=subprocess.PIPE, text=True)


def result(load: subprocess.Popen[str], timeout_s: float = 60) -> Result:
    """What the load says at its end. Raises subprocess.TimeoutExpired."""
    out, _ = load.communicate(timeout=timeout_s)
    return Result(**json.loads(out))


def run(port: int, *, rate: float, seconds: float, hot: int = 0, prefix: str = "n") -> Result:
    """The result of a load from start to end."""
    return result(start(port, rate=rate, seconds=seconds, hot=hot, prefix=prefix), timeout_s=seconds + 30)


@dataclass
class _Sender:
    """The load itself: what is under way, by socket and id."""

    sockets: list[socket.socket]
    open: dict[tuple[int, int], tuple[float, bytes]]
    times: list[float]
    done: dict[tuple[int, int], bytes] = field(default_factory=dict)
    wrong: int = 0
    twice: int = 0
    first_wrong: str = ""

    def send(self, number: int, due: float, name: bytes) -> None:
        """Nothing; one query, on the next socket, under an id that this socket has free."""
        sock = self.sockets[number % SOCKETS]
        ident = number // SOCKETS & 0xFFFF
        self.open[sock.fileno(), ident] = (due, name)
        self.done.pop((sock.fileno(), ident), None)
        sock.send(_QUERY.pack(ident, 0x0100, 1, 0, 0, 0) + name + b"\0\1\0\1")

    def receive(self, sock: socket.socket) -> None:
        """Nothing; everything that waits on one socket."""
        while True:
            try:
                wire = sock.recv(4096)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            now = time.monotonic()
            place = sock.fileno(), int.from_bytes(wire[:2])
            due, name = self.open.pop(place, (0.0, self.done.get(place, b"")))
            if wire[3] & 15 or wire[12 : 12 + len(name)] != name or wire[-4:] != address_of(name) or not name:
                self.wrong += 1
                self.first_wrong = self.first_wrong or f"{name!r}: {wire.hex()}"
            elif place in self.done:
                self.twice += 1
            else:
                self.done[place] = name
                self.times.append(now - due)


def _send_all(args: argparse.Namespace) -> Result:
    """The result of the load that the arguments describe."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SOCKETS)]
    selector = selectors.DefaultSelector()
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.connect((args.host, args.port))
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
    domain = b"".join(bytes([len(label)]) + label for label in args.domain.encode().split(b".")) + b"\0"
    sender = _Sender(sockets, {}, [])
    total = int(args.rate * args.seconds)
    began = time.monotonic()
    number = 0
    until = began + args.seconds + args.wait
    while number < total or (sender.open and time.monotonic() < until):
        now = time.monotonic()
        while number < total and began + number / args.rate <= now:
            label = f"{args.prefix}{number % args.hot if args.hot else number}".encode()
            sender.send(number, began + number / args.rate, bytes([len(label)]) + label + domain)
            number += 1
        pause = max(0.0, began + number / args.rate - time.monotonic()) if number < total else 0.05
        for key, _ in selector.select(pause):
            assert isinstance(key.fileobj, socket.socket)
            sender.receive(key.fileobj)
    return _result(sender, total)


def _result(sender: _Sender, total: int) -> Result:
    """The counts and times of a load that has ended."""
    times = sorted(sender.times) or [0.0]

    def at(share: float) -> float:
        return round(times[min(len(times) - 1, int(len(times) * share))] * 1000, 2)

    return Result(
        sent=total,
        answered=len(sender.times),
        wrong=sender.wrong,
        lost=len(sender.open),
        p50_ms=at(0.5),
        p99_ms=at(0.99),
        max_ms=at(1.0),
        first_wrong=sender.first_wrong,
        twice=sender.twice,
    )


def _main() -> None:
    """Nothing; prints the result as one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--hot", type=int, default=0)
    parser.add_argument("--prefix", default="n")
    parser.add_argument("--domain", default="example.org")
    parser.add_argument("--wait", type=float, default=6)
    print(json.dumps(dataclasses.asdict(_send_all(parser.parse_args()))))


if __name__ == "__main__":
    _main()
