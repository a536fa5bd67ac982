"""A changed Corefile: taken over as a whole, or not at all."""

import os
import signal
import threading
import time

from tests.e2e import shardns as program
from tests.peers import fake, load, ports, wire
from tests.peers.client import ask, rcode
from tests.peers.process import wait_until
from tests.peers.script import Say

NET = "example.net {\n bind 127.0.0.1\n forward . UPSTREAM\n}\n"
ORG = program.STOCK.replace(". {\n    bind", "example.org {\n    bind", 1)
RELOADING = ORG.replace("errors", "errors\n reload 2s 1s", 1)
BAD = ORG.replace("cache 30", "cache -1\n nonsense")


def test_signal(scripted):
    """SIGUSR1 takes the changed file: new zones are served, old ones refused, unchanged ones stay warm."""
    one = Say("a.example.org. 30 IN A 192.0.2.1")
    made, script = scripted({"a.example.org.": one}, ORG)
    ask("a.example.org", port=made.port)
    assert rcode(ask("a.example.net", port=made.port)) == "REFUSED"
    made.reload(ORG + NET)
    assert rcode(ask("a.example.net", port=made.port)) == "NXDOMAIN"
    assert ask("a.example.org", port=made.port).answer
    assert script.asked["a.example.org. A"] == 1
    made.reload(NET)
    assert rcode(ask("a.example.org", port=made.port)) == "REFUSED"
    assert made.http("METRICS", "/metrics")[0] == 0


def test_unchanged(launch):
    """SIGUSR1 with a file that says the same changes nothing; no process is replaced."""
    made = launch()
    pids = made.pids()
    made.write(program.STOCK + "\n# a comment\n")
    os.kill(made.process.pid, signal.SIGUSR1)
    made.wait_event("plan.unchanged")
    assert made.pids() == pids


def test_bad_file(scripted):
    """A bad file keeps the old one, every error is logged with its place, and the failure is counted."""
    made, _ = scripted({"a.example.org.": Say("a.example.org. 30 IN A 192.0.2.1")}, ORG)
    pids = made.pids()
    made.write(BAD)
    os.kill(made.process.pid, signal.SIGUSR1)
    made.wait_event("reload.failed")
    refused = [str(event["error"]) for event in made.events("plan.refused")]
    assert any(f"{made.corefile}:5:" in text and "cache" in text for text in refused)
    assert any(f"{made.corefile}:6:" in text and "nonsense" in text for text in refused)
    assert ask("a.example.org", port=made.port).answer
    assert made.scrape().total("coredns_reload_failed_total") == 1
    assert made.pids() == pids


def test_reload_plugin(scripted):
    """The reload plugin takes a good file by itself, and keeps the old one for a bad one, counting it."""
    made, _ = scripted({}, RELOADING)
    made.write(BAD.replace("errors", "errors\n reload 2s 1s", 1))
    wait_until(lambda: made.scrape().total("coredns_reload_failed_total") >= 1, within_s=6, what="the bad file")
    assert rcode(ask("a.example.org", port=made.port)) == "NXDOMAIN"
    made.write(RELOADING + NET)
    wait_until(lambda: rcode(ask("a.example.net", port=made.port)) == "NXDOMAIN", within_s=8, what="the good file")
    made.wait_event("generation.drained")
    (version,) = made.scrape().labels("coredns_reload_version_info")
    assert version == {"hash": "sha512", "value": made.events("reload.finished")[-1]["digest"]}


def test_imported_file(scripted, tmp_path):
    """A change in an imported file is a change."""
    (tmp_path / "more.conf").write_text("")
    made, _ = scripted({}, ORG + f"import {tmp_path}/*.conf\n")
    (tmp_path / "more.conf").write_text(program.filled(NET, made.places))
    os.kill(made.process.pid, signal.SIGUSR1)
    made.wait_event("reload.finished")
    assert rcode(ask("a.example.net", port=made.port)) == "NXDOMAIN"


def test_listeners_come_and_go(scripted):
    """A reload opens new addresses and ports, of DNS and metrics, and closes those that are gone."""
    made, _ = scripted({}, ORG)
    with ports.reserved() as dns, ports.reserved() as metrics:
        moved = ORG.replace("example.org {", f"example.org:{dns} {{").replace("METRICS", f"127.0.0.1:{metrics}")
        made.reload(moved)
        assert rcode(ask("a.example.org", port=dns)) == "NXDOMAIN"
        assert wire.send(dns, wire.query("b.example.org")) is not None
        closed = {event["address"] for event in made.events("listener.closed")}
        assert closed == {f"127.0.0.1:{made.port}", made.places["METRICS"]}
        assert made.http("METRICS", "/metrics")[0] == 0
        made.stop()


def test_port_that_cannot_be_had(launch):
    """A reload that wants an address of no interface fails as a whole; what was served goes on."""
    made = launch(ORG)
    made.write(ORG + NET.replace("bind 127.0.0.1", "bind 192.0.2.1"))
    os.kill(made.process.pid, signal.SIGUSR1)
    made.wait_event("reload.failed")
    assert rcode(ask("a.example.net", port=made.port)) == "REFUSED"


def test_under_load(launch):
    """Reloads in a row under hits and misses lose no query and give no wrong answer."""
    with fake.nameserver(delay_s=0.01) as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        misses = load.start(made.port, rate=200, seconds=6)
        hits = load.start(made.port, rate=500, seconds=6, hot=50, prefix="hot")
        for seconds in (31, 32, 33):
            time.sleep(0.5)
            made.reload(program.STOCK.replace("cache 30", f"cache {seconds}"))
        for running in (misses, hits):
            done = load.result(running)
            assert (done.lost, done.wrong) == (0, 0), done


def test_tcp_clients_over_a_reload(launch):
    """A TCP client's query that is under way is answered; its connection is then closed, or serves on."""
    with fake.nameserver(delay_s=1.0) as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        with wire.stream(made.port) as client:
            client.send(wire.query("a.example.org"))
            time.sleep(0.1)
            thread = threading.Thread(target=made.reload, args=(program.STOCK.replace("cache 30", "cache 31"),))
            thread.start()
            reply = client.receive()
            thread.join()
            assert reply.endswith(fake.address_of(wire.name("a.example.org")))


def test_operator_reload(launch):
    """`shardns reload` does what SIGUSR1 does."""
    made = launch()
    made.write(program.STOCK.replace("cache 30", "cache 31"))
    code, out, err = program.run("reload", "--control", made.control)
    assert (code, err) == (0, ""), out
    made.wait_event("reload.finished")
