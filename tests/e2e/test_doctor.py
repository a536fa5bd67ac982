"""`shardns doctor`, on programs that are well and on such as are not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest

from tests.e2e import node as nodes
from tests.e2e import shardns as program
from tests.e2e.node import FAMILIES, INTERFACE, IPV4
from tests.peers import fake, netns, ports
from tests.peers.process import wait_until

pytestmark = pytest.mark.slow
WITHIN_S = 15.0  # 10 s, and the start of an interpreter on a busy machine

TWO = """
cluster.local in-addr.arpa {
    bind 127.0.0.1
    cache
    forward . FIRST {
        force_tcp
    }
    prometheus METRICS
    health HEALTH
    ready READY
}
. {
    bind 127.0.0.1
    cache
    forward . SECOND
}
"""


def doctor(*words, within_s=WITHIN_S):
    """Exit code and findings, each (check, state, found and remedy)."""
    begin = time.monotonic()
    code, out, err = program.run("doctor", "--json", *words)
    assert time.monotonic() - begin < within_s
    assert err == ""
    found = [json.loads(line) for line in out.splitlines()]
    return code, [(one["check"], one["state"], f"{one['found']} -> {one['remedy']}") for one in found]


def of(found, check, state=""):
    """The texts of a check's findings, of one state or of all."""
    return [text for name, how, text in found if name == check and state in ("", how)]


@pytest.fixture
def well(tmp_path):
    """A shardns in front of two nameservers, of which a test may end the first."""
    with contextlib.ExitStack() as first, fake.nameserver() as second:
        server = first.enter_context(fake.nameserver())
        places = {"FIRST": f"127.0.0.1:{server.port}", "SECOND": f"127.0.0.1:{second.port}"}
        with program.shardns(tmp_path, TWO, places=places) as made:
            yield made, first, places


def test_all_is_well(well):
    """On a healthy program nothing fails, every part is heard, and nothing has changed by it."""
    made, _, places = well
    before = made.pids()
    code, found = doctor("--control", made.control)
    assert [one for one in found if one[1] == "fail"] == []
    assert code == 0
    assert f"pid {made.process.pid}" in of(found, "program", "ok")[0]
    assert "2 UDP and 2 TCP sockets of ours, 2 workers" in of(found, "sockets", "ok")[0]
    assert sum("took" in text for text in of(found, "workers", "ok")) == 2
    assert sum("24 of 24 answered" in text for text in of(found, "workers", "ok")) == 2
    assert [text.split()[0] for text in of(found, "answers", "ok")] == ["cluster.local.", "in-addr.arpa.", "."]
    for place in places.values():
        assert sum(text.startswith(place) for text in of(found, "upstreams", "ok")) == 2
    assert sorted(text.split()[0] for text in of(found, "http", "ok")) == ["health", "metrics", "ready"]
    assert "-setupinterface=false" in of(found, "interface", "skip")[0]
    assert "-setupiptables=false" in of(found, "rules", "skip")[0]
    assert made.pids() == before
    assert not made.events("child.exited")


def test_for_a_person(well):
    """Without --json it is a line each, without colours where nobody sees them, and counts at the end."""
    made, *_ = well
    code, out, err = program.run("doctor", "--control", made.control)
    assert (code, err) == (0, "")
    *lines, last = out.splitlines()
    assert all(line.split()[0] in ("ok", "warn", "skip") for line in lines)
    assert "\033" not in out
    assert ", 0 fail, " in last


def test_a_killed_nameserver(well):
    """The nameserver that does not answer is named, by both protocols, and the other one is not blamed."""
    made, first, places = well
    first.close()
    code, found = doctor("--control", made.control)
    assert code == 1
    (text,) = of(found, "upstreams", "fail")
    assert text.startswith(f"{places['FIRST']} by TCP: Connection refused -> ")
    assert any(places["FIRST"] in text and "force_tcp" in text for text in of(found, "upstreams", "warn"))
    assert len(of(found, "upstreams", "ok")) == 2
    assert of(found, "workers", "fail") == []


@contextlib.contextmanager
def stopped(made, pid):
    """That process stands still, and so does the supervisor, which would replace it."""
    pids = (made.process.pid, pid)
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        wait_until(lambda: all(program.status(one)["State"].startswith("T") for one in pids), what="them to be stopped")
        yield
    finally:
        for one in reversed(pids):
            os.kill(one, signal.SIGCONT)


def test_a_stopped_worker(well):
    """A worker that was stopped is named with its pid, and so is what it leaves unanswered."""
    made, *_ = well
    pid = made.pids()["worker 1"]
    with stopped(made, pid):
        code, found = doctor("--control", made.control)
    assert code == 1
    failed = of(found, "workers", "fail")
    assert failed[0].startswith(f"worker 1 (pid {pid}) is stopped")
    assert any("by UDP" in text and "no answer in time" in text for text in failed)
    assert any(text.startswith("worker 0 (pid") for text in of(found, "workers", "ok"))


def test_a_stopped_upstream_process(well):
    """A shardns that does not answer its operator is told; what the flags given say of it is looked at all the same."""
    made, _, _ = well
    pid = made.pids()["upstream"]
    flags = ["-conf", str(made.corefile), "-localip", "127.0.0.1", "-p", str(made.port), "--workers", "2"]
    flags += ["-setupinterface=false", "-setupiptables=false", "-metrics-listen-address="]
    with stopped(made, pid):
        code, found = doctor("--control", made.control, *flags)
    assert code == 1
    assert "the upstream process does not answer" in of(found, "program", "fail")[0]
    assert of(found, "workers", "fail")[0].startswith(f"upstream (pid {pid}) is stopped")
    assert sum("24 of 24 answered" in text for text in of(found, "workers", "ok")) == 2
    assert len(of(found, "answers", "fail")) == 3
    assert len(of(found, "http", "fail")) == 3


@pytest.mark.netns
@pytest.mark.skipif(bool(netns.can_make()), reason=netns.can_make())
def test_nothing_runs():
    """Where nothing runs it says so, and how to start it."""
    with netns.namespace("empty") as empty, netns.entered(empty):
        code, found = doctor()
    assert code == 1
    (text,) = [text for _, state, text in found if state == "fail"]
    assert "no shardns runs here" in text
    assert "start it: `shardns -localip" in text


def test_what_the_flags_say(tmp_path):
    """Where nothing runs and flags are given, what they name is looked at: addresses, nameservers."""
    path = tmp_path / "Corefile"
    with fake.nameserver() as server, ports.reserved() as port:
        path.write_text(f". {{\n bind 127.0.0.1\n forward . 127.0.0.1:{server.port}\n}}\n")
        words = ["--control", f"@{tmp_path.name}", "-conf", str(path), "-localip", "127.0.0.1", "-p", str(port)]
        code, found = doctor(*words)
    assert code == 1
    assert f"127.0.0.1:{port}: nobody listens" in of(found, "sockets", "fail")[0]
    assert len(of(found, "upstreams", "ok")) == 2


@pytest.mark.netns
@pytest.mark.skipif(bool(nodes.why_not()), reason=nodes.why_not())
@pytest.mark.parametrize("backend", ["iptables-nft", "iptables-legacy", "nftables"])
def test_on_a_node(backend, cluster, tmp_path):
    """On a node all of interface, addresses, rules and conntrack is seen; a rule or address that is gone is named."""
    try:
        with nodes.node(backend, cluster, tmp_path) as node, node.shardns() as made:
            wait_until(node.is_whole, within_s=10, what="interface and rules")
            node.allow_as_told(made)
            whole(node, made)
            os.kill(made.process.pid, signal.SIGSTOP)  # or it would put back what is removed
            try:
                broken(node, made)
            finally:
                os.kill(made.process.pid, signal.SIGCONT)
    except nodes.NoSuchNodeError as error:
        pytest.skip(str(error))


def whole(node, made):
    """Nothing; the doctor finds nothing wrong, and leaves the node as it was."""
    before = node.host.run("nft", "-s", "list", "ruleset").stdout
    code, found = doctor("--control", made.control)
    assert [one for one in found if one[1] == "fail"] == []
    assert code == 0
    assert INTERFACE in of(found, "interface", "ok")[0]
    assert len(of(found, "addresses", "ok")) == 2 * len(FAMILIES)
    count = 8 if node.backend == "nftables" else 12
    assert sum(f"{count} of {count} rules in {node.backend}" in text for text in of(found, "rules", "ok")) == 4
    assert sum("no entry, other packets have" in text for text in of(found, "conntrack", "ok")) == 4
    assert node.host.run("nft", "-s", "list", "ruleset").stdout == before


def broken(node, made):
    """Nothing; the doctor names a rule and an address that were taken away, and sees what became of conntrack."""
    node.host.run("ip", "address", "del", f"{IPV4.service}/32", "dev", INTERFACE)
    if node.backend == "nftables":
        node.host.run("nft", "flush", "chain", "inet", "shardns", "output")
    else:
        match = ("-p", "udp", "-d", IPV4.local, "--dport", "53", "-j", "NOTRACK")
        words = (*match, "-m", "comment", "--comment", "NodeLocal DNS Cache: skip conntrack")
        node.host.run(node.backend, "-t", "raw", "-D", "OUTPUT", *words)
    code, found = doctor("--control", made.control)
    assert code == 1
    assert f"no interface has {IPV4.service}" in of(found, "addresses", "fail")[0]
    missing = of(found, "rules", "fail")[0]
    assert missing.startswith(f"{IPV4.local}: ")
    assert f"raw OUTPUT -p udp -d {IPV4.local} --dport 53" in missing or node.backend == "nftables"
    assert "missing: raw OUTPUT" in missing
    assert any(text.startswith(f"{IPV4.local}: a query from this host has an entry") for text in of(found, "conntrack"))
