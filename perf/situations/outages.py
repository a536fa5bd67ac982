"""The nameserver refuses, swallows, closes or falls silent: what its clients notice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from perf.situations import Figure, Skipped
from tests.e2e import shardns as program
from tests.peers import fake, load, netns, wire
from tests.peers.process import wait_until

STALE = program.STOCK.replace("cache 30", "cache {\n success 1024 1\n serve_stale 1h verify\n }")


def refused_tcp(directory: Path, scale: float) -> list[Figure]:
    """One query while nothing listens at the nameserver's address; dials are counted by the kernel of a namespace."""
    del scale
    with _namespace("refused"), program.shardns(directory, upstream="127.0.0.1:9") as made:
        pids = list(made.pids().values())
        time.sleep(1)
        dials, cpu_s = netns.counter("Tcp", "ActiveOpens"), program.cpu_s(pids)
        began = time.monotonic()
        reply = wire.send(made.port, wire.query("a.example.org"), timeout_s=5)
        took_s = time.monotonic() - began
        first = netns.counter("Tcp", "ActiveOpens") - dials
        time.sleep(0.5)
        return [
            Figure("response code (2 is SERVFAIL)", wire.rcode(reply) if reply else -1, at_most=2, at_least=2),
            Figure("answered after", round(took_s * 1000, 1), "ms", at_most=50, is_time=True),
            Figure("dials until the answer", first, at_most=2),
            Figure("CPU of all processes until half a second later", round(program.cpu_s(pids) - cpu_s, 3), "s"),
        ]


def refused_tcp_stale(directory: Path, scale: float) -> list[Figure]:
    """The same for a name whose answer has expired and may be served stale (serve_stale verify)."""
    del scale
    with _namespace("stale"), contextlib.ExitStack() as stack:
        with fake.nameserver() as server:
            made = stack.enter_context(program.shardns(directory, STALE, upstream=f"127.0.0.1:{server.port}"))
            wire.send(made.port, wire.query("ttl1-a.example.org"))
            time.sleep(1.1)
        time.sleep(0.5)
        dials = netns.counter("Tcp", "ActiveOpens")
        began = time.monotonic()
        reply = wire.send(made.port, wire.query("ttl1-a.example.org"), timeout_s=5)
        took_s = time.monotonic() - began
        right = reply is not None and reply.endswith(fake.address_of(wire.name("ttl1-a.example.org")))
        return [
            Figure("stale answers of 1", right, at_least=1),
            Figure("answered after", round(took_s * 1000, 1), "ms", at_most=50, is_time=True),
            Figure("dials until the answer", netns.counter("Tcp", "ActiveOpens") - dials, at_most=2),
        ]


def swallowed_syn(directory: Path, scale: float) -> list[Figure]:
    """The first query of a fresh process while the nameserver's address answers no SYN at all."""
    del scale
    with fake.swallowing_syn() as port, program.shardns(directory, upstream=f"127.0.0.1:{port}") as made:
        began = time.monotonic()
        reply = wire.send(made.port, wire.query("a.example.org"), timeout_s=10)
        took_s = time.monotonic() - began
        return [
            Figure("response code (2 is SERVFAIL)", wire.rcode(reply) if reply else -1, at_most=2, at_least=2),
            Figure("answered after", round(took_s * 1000), "ms", at_most=2000, is_time=True),
        ]


def closing_upstream(directory: Path, scale: float) -> list[Figure]:
    """500 misses/s; the nameserver is 20 ms away and closes every connection when it is 0.2 s old."""
    with fake.nameserver(delay_s=0.02, close_after_s=0.2) as server:
        with program.shardns(directory, upstream=f"127.0.0.1:{server.port}") as made:
            done = load.run(made.port, rate=500, seconds=max(2.0, 20 * scale))
        connections, queries = server.connections, server.queries
        bare = load.run(server.port, rate=500, seconds=2, prefix="bare")
        return [
            Figure("misses", done.sent),
            Figure("lost", done.lost, at_most=0),
            Figure("wrong", done.wrong, at_most=0),
            Figure("half of them answered within", done.p50_ms, "ms"),
            Figure("99 of 100 answered within", done.p99_ms, "ms", at_most=41, is_time=True),
            Figure("all answered within (a second time-out is later)", done.max_ms, "ms", at_most=300, is_time=True),
            Figure("99 of 100 answered by the nameserver itself within", bare.p99_ms, "ms"),
            Figure("upstream connections", connections),
            Figure("upstream queries per miss", round(queries / done.sent, 3)),
        ]


def silent_replica(directory: Path, scale: float) -> list[Figure]:
    """Two replicas behind one Service address; the packets of one are dropped, the kernel sends new dials to the other.

    DNAT and drops by nftables in a namespace of its own, as kube-proxy does them.
    """
    with _namespace("silent") as name, contextlib.ExitStack() as stack:
        one = stack.enter_context(fake.nameserver("127.0.1.1", 5300, delay_s=0.002))
        two = stack.enter_context(fake.nameserver("127.0.1.2", 5300, delay_s=0.002))
        with _rules_kept(name):
            _service(name, "numgen inc mod 2 map { 0 : 127.0.1.1, 1 : 127.0.1.2 }")
            made = stack.enter_context(program.shardns(directory, upstream="127.0.1.10:5300"))
            _spread(made, one, two)
            running = load.start(made.port, rate=200, seconds=max(3.0, 8 * scale))
            time.sleep(1)
            # Connections are replaced now and then: not in a moment in which all happen to lead to the other one.
            wait_until(
                lambda: bool(one.open_now), within_s=1, what="a connection to the replica that is to fall silent"
            )
            dead = len(one.open_now)
            before = one.connections
            _service(name, "127.0.1.2")
            _drop(name, "127.0.1.1")
            done = load.result(running)
            page = made.scrape()
        return [
            Figure("connections to the replica when it fell silent", dead, at_least=1),
            Figure("misses", done.sent),
            Figure("lost", done.lost, at_most=0),
            Figure("wrong", done.wrong, at_most=0),
            Figure("99 of 100 answered within", done.p99_ms, "ms"),
            Figure("all answered within", done.max_ms, "ms", at_most=300, is_time=True),
            Figure("new connections to the silent replica", one.connections - before, at_most=0),
            Figure("connections to the healthy one now", len(two.open_now), at_least=1),
            Figure("queries asked on a second connection", page.total("shardns_upstream_hedges_total")),
        ]


def _spread(made: program.Shardns, one: fake.FakeNameserver, two: fake.FakeNameserver) -> None:
    """Nothing, once both replicas have a connection, to whom dials go in turn: it is made to dial until they have."""
    number = 0

    def both() -> bool:
        nonlocal number
        number += 1
        wire.send(made.port, wire.query(f"warm{number}.example.org"))
        if one.open_now and two.open_now:
            return True
        if number % 5 == 0:
            for server in (one, two):
                server.drop_connections()
        return False

    wait_until(both, within_s=20, what="connections to both replicas")


@contextlib.contextmanager
def _namespace(label: str) -> Iterator[netns.Namespace]:
    """A network namespace, entered by the calling thread. Raises Skipped where none can be made."""
    if why := netns.can_make():
        raise Skipped(why)
    with netns.namespace(label) as made, netns.entered(made):
        yield made


@contextlib.contextmanager
def _rules_kept(name: netns.Namespace) -> Iterator[None]:
    """A table for this situation's rules. Raises Skipped without nftables."""
    done = name.run("nft", "add table ip silent", check=False)
    if done.returncode:
        raise Skipped(f"nftables: {done.stderr.strip()}")
    name.run("nft", "add chain ip silent out { type nat hook output priority -100 ; }")
    name.run("nft", "add chain ip silent drops { type filter hook output priority 0 ; }")
    yield


def _service(name: netns.Namespace, target: str) -> None:
    """Nothing; new connections to the Service address go to target."""
    name.run("nft", f"flush chain ip silent out; add rule ip silent out ip daddr 127.0.1.10 dnat to {target}")


def _drop(name: netns.Namespace, address: str) -> None:
    """Nothing; every packet to or from the address is lost."""
    name.run(
        "nft", f"add rule ip silent drops ip daddr {address} drop; add rule ip silent drops ip saddr {address} drop"
    )
