"""`shardns demo`: its parts, and the whole of it once, on a terminal and off it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from shardns.dns import message, names
from supervisor.cli import corefiles
from supervisor.cli.demo import free_port, live_line, run, sums
from supervisor.options import Options
from supervisor.sources import CorefileSource

PATIENCE_S = 40.0


@pytest.mark.parametrize(
    "text",
    [
        corefiles.demo("127.0.0.1:5300", metrics="127.0.0.1:9253", health="127.0.0.1:8080", ready="127.0.0.1:8181"),
        corefiles.forwarder(),
    ],
)
def test_built_in_corefiles_are_good(text, tmp_path, monkeypatch):
    """They have neither errors nor warnings, and listen on loopback only."""
    if "resolv.conf" in text:
        resolv = tmp_path / "resolv.conf"
        resolv.write_text("nameserver 192.0.2.1\n")
        text = text.replace("/etc/resolv.conf", str(resolv))
    plan = CorefileSource(Options(workers=1, corefile=text, dns_port=1053)).load()
    assert plan.warnings == ()
    assert {listener.host for listener in plan.listeners} == {"127.0.0.1"}
    assert {address.host for address in plan.http()} == {"127.0.0.1"}


def test_sums_of_a_page():
    """All series of a family add up; families whose names begin alike do not."""
    page = """\
# TYPE coredns_dns_requests_total counter
coredns_dns_requests_total{server="dns://127.0.0.1:53",type="A"} 3
coredns_dns_requests_total{server="dns://127.0.0.1:53",type="AAAA"} 4.0
coredns_dns_requests_total_created 1e9
coredns_cache_hits_total{type="success"} 5
coredns_cache_requests_total 8
"""
    assert sums(page) == {"queries": 7, "hits": 5, "lookups": 8, "asked": 0}


@pytest.mark.parametrize(
    "hits, lookups, words", [(0, 0, "hit ratio      - "), (30, 40, "hit ratio  75.0 %"), (40, 40, "hit ratio 100.0 %")]
)
def test_live_line(hits, lookups, words):
    """Rates are per second; without lookups there is no ratio."""
    before = {"queries": 100.0, "hits": 50.0, "lookups": 60.0, "asked": 10.0}
    now = {"queries": 140.0, "hits": 50.0 + hits, "lookups": 60.0 + lookups, "asked": 12.0}
    line = live_line(before, now, 2.0)
    assert line.split()[:2] == ["20", "queries/s"]
    assert words in line
    assert line.endswith("1 upstream queries/s")


def test_busy_port_is_replaced():
    """A metrics port that somebody has does not keep the demo from showing its page."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


@pytest.mark.parametrize("arguments", [["more"], ["-nonsense"], ["-p", "dns"]])
def test_refused(arguments, capsys):
    """What is no flag of the demo is refused before anything starts."""
    assert run(["demo", *arguments]) == 1
    assert capsys.readouterr().err.startswith("shardns demo: ")


def ask(port: int, name: str) -> bytes:
    """The answer to a question for addresses."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        client.sendto(message.query(names.to_wire(name), 1, id=7), ("127.0.0.1", port))
        return client.recv(4096)


def start(port: int, output: int) -> subprocess.Popen[bytes]:
    """A demo of one worker."""
    command = [sys.executable, "-m", "supervisor", "demo", "-p", str(port), "--workers", "1"]
    return subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True)


def read_until(fd: int, words: str) -> str:
    """What is printed until words come. Raises AssertionError when they do not."""
    text, deadline = "", time.monotonic() + PATIENCE_S
    while not re.search(words, text):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, text
        octets = os.read(fd, 65536)
        assert octets, text
        text += octets.decode(errors="replace")
    return text


@pytest.mark.slow
def test_the_demo_serves_and_ends(port):
    """It serves the made-up cluster, says what to type, shows health and metrics, and ends with 0 on Ctrl-C."""
    reader, writer = os.pipe()
    with start(port, writer) as demo:
        os.close(writer)
        try:
            text = read_until(reader, "Ctrl-C ends it")
            assert f"dig @127.0.0.1 -p {port} kubernetes.default.svc.cluster.local" in text
            assert socket.inet_aton("10.96.0.1") in ask(port, "kubernetes.default.svc.cluster.local.")
            for url, words in re.findall(r"(http://127.0.0.1:\d+/(metrics|health|ready))", text):
                with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:  # noqa: S310 - loopback
                    assert (b"coredns_" if words == "metrics" else b"OK") in page.read()
            demo.send_signal(signal.SIGINT)
            assert demo.wait(PATIENCE_S) == 0
        finally:
            demo.kill()
            os.close(reader)


@pytest.mark.slow
def test_the_live_line_on_a_terminal(port):
    """On a terminal a line of rates is drawn over and over, and the log is readable above it."""
    master, slave = pty.openpty()
    with start(port, slave) as demo:
        os.close(slave)
        try:
            text = read_until(master, r"queries/s +hit ratio .*upstream queries/s")
            assert "info" in text
            assert "generation.serving" in text
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(PATIENCE_S) == 0
        finally:
            demo.kill()
            os.close(master)


@pytest.mark.slow
def test_busy_dns_port_is_said(port):
    """When the DNS port is taken the demo says so and ends with 1."""
    reader, writer = os.pipe()
    with socket.socket(type=socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        with start(port, writer) as demo:
            os.close(writer)
            try:
                read_until(reader, f"cannot listen on 127.0.0.1:{port}: Address already in use")
                assert demo.wait(PATIENCE_S) == 1
            finally:
                demo.kill()
                os.close(reader)
