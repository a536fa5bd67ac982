"""`shardns demo`: the real program in front of a stand-in for kube-dns, on loopback, without root.

It starts `shardns` as anybody would, with flags and a Corefile, and looks at it through its metrics page.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from supervisor import privileges
from supervisor.cli import corefiles, standin
from supervisor.cli.gosyntax import Flag, FlagError, parse
from supervisor.signals import SignalPipe

FLAGS = (
    Flag("dns.port", "1053", "port to serve DNS on, on 127.0.0.1", "PORT", ("p",)),
    Flag("workers", "2", "worker processes", "N"),
    Flag("log-level", "info", "debug, info, warning or error", "LEVEL"),
)
USAGE = """\
shardns demo [-p PORT] [--workers N] [--log-level LEVEL]

Serves a small made-up cluster on 127.0.0.1, port 1053 or PORT, until Ctrl-C."""

START_S = 20.0  # to serve, on a machine that is busy
STEP_S = 1.0  # between two looks at the counters
METRICS, HEALTH, READY = 9253, 8080, 8181  # where they can be had

FAMILIES = {  # what the live line sums up
    "queries": "coredns_dns_requests_total",
    "hits": "coredns_cache_hits_total",
    "lookups": "coredns_cache_requests_total",
    "asked": "coredns_proxy_request_duration_seconds_count",
}


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the demo listens on 127.0.0.1."""

    dns: int
    metrics: int
    health: int
    ready: int


def run(words: Sequence[str]) -> int:
    """The exit code of `demo ...`."""
    try:
        given = parse(words[1:], FLAGS)
        given.no_rest()
        ports = Ports(given.port("dns.port"), *(free_port(port) for port in (METRICS, HEALTH, READY)))
    except (FlagError, ValueError) as error:
        print(f"shardns demo: {error}", file=sys.stderr)
        return 1
    if given.wants_help:
        print(USAGE)
        return 0
    flags = ["--workers", given.text("workers"), "--log-level", given.text("log-level")]
    with contextlib.closing(SignalPipe()) as signals:
        try:
            with standin.serve() as (host, port):
                return Demo(ports, f"{host}:{port}", flags, signals).run()
        except OSError as error:
            print(f"shardns demo: {error}", file=sys.stderr)
            return 1


def free_port(wanted: int) -> int:
    """The wanted TCP port of 127.0.0.1 if it is free, else one that is."""
    for port in (wanted, 0):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return int(sock.getsockname()[1])
    raise OSError("no TCP port of 127.0.0.1 is free")


class Demo:
    """A running `shardns`, and a line about what it does."""

    def __init__(self, ports: Ports, upstream: str, flags: Sequence[str], signals: SignalPipe) -> None:
        """Start it, in front of upstream."""
        self._ports = ports
        self._signals = signals
        self._is_terminal = sys.stdout.isatty()
        self._line = ""
        self._asked_to_end = 0
        places = [f"127.0.0.1:{port}" for port in (ports.metrics, ports.health, ports.ready)]
        text = corefiles.demo(upstream, metrics=places[0], health=places[1], ready=places[2])
        command = [sys.executable, "-m", "supervisor", "-conf", "stdin", "-p", str(ports.dns), "-quiet"]
        command += ["-metrics-listen-address=", "--shm-name", "none", *flags]
        command += ["--log-format", "text"] if self._is_terminal else []
        self._server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if self._is_terminal else None,
            start_new_session=True,  # Ctrl-C is for us: the server is told to stop by us, once
            preexec_fn=functools.partial(privileges.die_with, os.getpid()),  # noqa: PLW1509 - no thread runs here
        )
        assert self._server.stdin is not None
        self._server.stdin.write(text.encode())
        self._server.stdin.close()

    def run(self) -> int:
        """Until Ctrl-C, or until the server ends by itself; the exit code."""
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self._turn(0.05) or time.monotonic() > deadline:
                return self._end()
        self._show(welcome(self._ports))
        before, then = self._counts(), time.monotonic()
        while not self._turn(STEP_S):
            now, at = self._counts(), time.monotonic()
            if self._is_terminal and before is not None and now is not None and at - then >= STEP_S / 2:
                self._draw(live_line(before, now, at - then))
            if at - then >= STEP_S / 2:
                before, then = now, at
        return self._end()

    def _turn(self, seconds: float) -> bool:
        """Pass on what the server prints for a while; whether it is time to end."""
        output = self._server.stdout
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            inputs = [self._signals.fileno()] + ([output.fileno()] if output is not None else [])
            readable = select.select(inputs, [], [], left)[0]
            if self._signals.fileno() in readable and self._is_over():
                return True
            if output is not None and output.fileno() in readable:
                octets = os.read(output.fileno(), 65536)
                if not octets:
                    return True
                self._show(octets.decode(errors="replace").rstrip("\n"))
        return self._server.poll() is not None

    def _is_over(self) -> bool:
        """Whether a signal said so, or told of the server's end."""
        for number in self._signals.take():
            if number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
                self._asked_to_end += 1
        return self._asked_to_end > 0 or self._server.poll() is not None

    def _end(self) -> int:
        """Stop the server, kindly first; its exit code, or 1 when it never served."""
        was_asked = self._asked_to_end > 0
        if self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
        asked = self._asked_to_end
        while self._server.poll() is None:
            self._turn(0.05)
            if self._asked_to_end > asked:
                self._server.kill()
        self._draw("")
        if was_asked and self._server.returncode == 0:
            return 0
        return self._server.returncode or 1

    def _is_ready(self) -> bool:
        """Whether /ready says so."""
        return self._get(self._ports.ready, "/ready")[0] == http.client.OK

    def _counts(self) -> dict[str, float] | None:
        """The sums of FAMILIES now; None when the page cannot be had."""
        status, page = self._get(self._ports.metrics, "/metrics")
        return sums(page) if status == http.client.OK else None

    def _get(self, port: int, path: str) -> tuple[int, str]:
        """Status (0: no answer) and text of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def _show(self, text: str) -> None:
        """Print text above the live line."""
        line = self._line
        self._draw("")
        print(text, flush=True)
        self._draw(line)

    def _draw(self, line: str) -> None:
        """Put line in the place of the live line."""
        if self._is_terminal:
            print(f"\r\x1b[K{line}", end="", flush=True)
            self._line = line


def welcome(ports: Ports) -> str:
    """What to type next."""
    dig = f"dig @127.0.0.1 -p {ports.dns}"
    return f"""
shardns serves a made-up cluster on 127.0.0.1:{ports.dns}. In another terminal:

  {dig} kubernetes.default.svc.cluster.local
  {dig} db.default.svc.cluster.local             # a headless Service
  {dig} SRV _http._tcp.web.default.svc.cluster.local
  {dig} -x 10.96.0.1                             # its name
  {dig} nowhere.default.svc.cluster.local        # NXDOMAIN, cached too
  {dig} +tcp big.default.svc.cluster.local       # an answer that UDP cannot hold
  curl -s http://127.0.0.1:{ports.metrics}/metrics | grep coredns_cache
  curl -s http://127.0.0.1:{ports.health}/health
  curl -s http://127.0.0.1:{ports.ready}/ready

Ctrl-C ends it.
"""


def sums(page: str) -> dict[str, float]:
    """The sum over all series of each of FAMILIES on a metrics page (text format 0.0.4)."""
    found = dict.fromkeys(FAMILIES, 0.0)
    names = {family: name for name, family in FAMILIES.items()}
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        name = names.get(series.partition("{")[0])
        if name is not None:
            found[name] += float(value)
    return found


def live_line(before: dict[str, float], now: dict[str, float], passed_s: float) -> str:
    """One line about what happened between two looks."""
    rate: Callable[[str], float] = lambda name: max(0.0, now[name] - before[name]) / passed_s  # noqa: E731
    lookups = now["lookups"] - before["lookups"]
    hits = f"{100 * (now['hits'] - before['hits']) / lookups:5.1f} %" if lookups > 0 else "     - "
    return f"{rate('queries'):9.0f} queries/s   hit ratio {hits}   {rate('asked'):7.0f} upstream queries/s"
