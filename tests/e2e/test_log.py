"""What is logged, and how: CoreDNS's lines of log and errors, and our own."""

import json
import re

import pytest

from tests.e2e import shardns as program
from tests.peers import wire
from tests.peers.client import ask
from tests.peers.dig import dig
from tests.peers.script import Say

NAME = "a.example.org."
OK = Say(f"{NAME} 30 IN A 192.0.2.1")
LINE = re.compile(
    r'\[INFO\] 127\.0\.0\.1:\d+ - (\d+) "(\w+) (\w+) (\S+) (udp|tcp) (\d+) (true|false) (\d+)"'
    r" (\S+) (\S+) (\d+) [\d.]+s"
)


def _with(*lines):
    """The stock Corefile with these lines in place of errors."""
    return program.STOCK.replace("    errors\n", "\n".join(lines) + "\n", 1)


def test_log_lines(scripted):
    """log writes a line per reply in CoreDNS's common format, for misses and hits, UDP and TCP, every class."""
    made, _ = scripted({NAME: OK}, _with("log"))
    wire.send(made.port, wire.query("A.example.ORG", ident=4242))
    dig(NAME, "+tcp", "+dnssec", "+nocookie", port=made.port)
    ask("missing.example.org", "AAAA", port=made.port)
    lines = [LINE.fullmatch(line) for line in made.wait_plain("^.INFO", 3)]
    assert all(lines)
    first, second, third = (match.groups() for match in lines if match)
    assert first == ("4242", "A", "IN", NAME, "udp", "31", "false", "512", "NOERROR", "qr,aa,rd,ra", "47")
    assert second[1:8] == ("A", "IN", NAME, "tcp", "42", "true", "65535")
    assert second[8] == "NOERROR"
    assert third[1:4] == ("AAAA", "IN", "missing.example.org.")
    assert third[8] == "NXDOMAIN"


def test_log_of_hits(scripted):
    """A hit is logged as a miss is, by whichever worker answered."""
    made, _ = scripted({NAME: OK}, _with("log"))
    for _ in range(32):
        ask(NAME, port=made.port)
    assert len(made.wait_plain("NOERROR", 32)) == 32


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("log . combined {\n class denial\n}", ["missing.example.org."]),
        ("log {\n class error\n}", ["bad.example.org."]),
        ("log {\n class success\n}", [NAME]),
        ("log missing.example.org\n log a.example.org", [NAME, "missing.example.org."]),
    ],
)
def test_classes_and_names(scripted, line, wanted):
    """log writes replies of its classes and names only."""
    made, _ = scripted({NAME: OK, "bad.example.org.": Say(rcode="REFUSED")}, _with(line))
    for name in (NAME, "missing.example.org", "bad.example.org"):
        ask(name, port=made.port)
    made.stop()
    names = sorted(re.findall(r'"A IN (\S+) ', "\n".join(made.plain())))
    assert names == sorted(wanted)


def test_format(scripted):
    """log writes the format it is given."""
    made, _ = scripted({NAME: OK}, _with('log . "{remote} {name} {>opcode} {rcode} {local} {/x} {unknown}"'))
    ask(NAME, port=made.port)
    assert made.wait_plain("^.INFO") == [f"[INFO] 127.0.0.1 {NAME} 0 NOERROR 127.0.0.1 - {{unknown}}"]


@pytest.mark.parametrize(
    "forward, wanted",
    [
        ("force_tcp", r"dial tcp 127\.0\.0\.1:PORT: connect: connection refused"),
        ("prefer_udp", r"read udp 127\.0\.0\.1:\d+->127\.0\.0\.1:PORT: read: connection refused"),
    ],
)
def test_errors_line(launch, port, forward, wanted):
    """errors writes code, name, type and Go's words for what failed."""
    made = launch(program.STOCK.replace("force_tcp", forward), upstream=f"127.0.0.1:{port}")
    ask("a.example.org", "AAAA", port=made.port, timeout_s=6)
    made.wait_plain(rf"^\[ERROR\] plugin/errors: 2 a\.example\.org\. AAAA: {wanted.replace('PORT', str(port))}$")


def test_errors_of_silence(scripted):
    """A nameserver that says nothing is an i/o timeout."""
    made, _ = scripted({NAME: Say(is_silent=True)})
    ask(NAME, port=made.port, timeout_s=8)
    made.wait_plain(r"^\[ERROR\] plugin/errors: 2 a\.example\.org\. A: read tcp 127\S+->127\S+: i/o timeout$")


def test_consolidate(launch, port):
    """consolidate counts errors that look alike and writes their number once per period, and at the end."""
    lines = ('errors {\n consolidate 1s "connection refused$" warning\n', 'consolidate 5m "i/o timeout$"\n}')
    text = _with(*lines).replace("cache 30", "cache {\n servfail 0\n}")
    made = launch(text, upstream=f"127.0.0.1:{port}")
    for n in range(3):
        ask(f"n{n}.example.org", port=made.port)
    found = made.wait_plain("plugin/errors")
    assert found == ["[WARNING] plugin/errors: 3 errors like 'connection refused$' occurred in last 1s"]
    ask("last.example.org", port=made.port)
    made.stop()
    assert made.plain("plugin/errors")[-1].startswith("[WARNING] plugin/errors: 1 errors like ")


def test_json(launch, kube_dns):
    """With --log-format json every line but CoreDNS's own is a JSON object with time, level and event."""
    made = launch(_with("errors", "log"), upstream=f"127.0.0.1:{kube_dns.port}", flags=("-log-format", "json"))
    ask("web.default.svc.cluster.local", port=made.port)
    made.stop()
    lines = made.process.output().splitlines()
    objects = [json.loads(line) for line in lines if not line.startswith("[")]
    assert len(objects) >= 5
    assert all({"time", "level", "event", "role"} <= set(line) for line in objects)
    assert {"supervisor.started", "generation.serving", "supervisor.stopped"} <= {line["event"] for line in objects}
    assert {line["role"] for line in objects} >= {"supervisor", "upstream", "worker"}


def test_text_and_level(launch):
    """--log-format text is for people; --log-level leaves out what is below."""
    made = launch(flags=("-log-format", "text", "-log-level", "warning"))
    made.stop()
    assert made.process.output() == ""
    made = launch(flags=("--log-format=text",))
    made.stop()
    assert re.search(r"^[\d-]+ [\d:.]+ info supervisor\.started ", made.process.output(), re.MULTILINE)


def test_clients_cannot_write_lines(scripted):
    """Names with line ends, quotes and escapes cannot forge a line of the log."""
    made, _ = scripted({}, _with("log"))
    evil = b"\x0aa\n[INFO] \x1b" + wire.name("example.org")
    wire.send(made.port, wire.HEADER.pack(1, wire.RD, 1, 0, 0, 0) + evil + b"\0\1\0\1")
    (line,) = made.wait_plain("example.org")
    assert r"a\010[info]\ \027.example.org." in line
