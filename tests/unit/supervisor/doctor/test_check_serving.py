"""The program itself, judged."""

import dataclasses

import pytest

import shardns
from supervisor.doctor import check_serving
from supervisor.doctor.facts import Answer, Asked, Page, ProcessSeen, SocketSeen, WorkersSeen
from supervisor.doctor.known import Beat
from tests.unit.supervisor.doctor.facts import BEAT, KUBE_DNS, LOCAL, PUBLIC, assert_like, known, nothing

UDP, TCP = SocketSeen("udp", LOCAL, 53, is_ours=True), SocketSeen("tcp", LOCAL, 53, is_ours=True)
LATER = Beat(0.1, 0.2, 112, 62)
ALL_WELL = (Asked(LOCAL, 53, "udp", 24, 24, 0.002), Asked(LOCAL, 53, "tcp", 24, 24, 0.003))
PROCESSES = (ProcessSeen(8, "upstream", "S"), ProcessSeen(9, "worker 0", "S"), ProcessSeen(10, "worker 1", "R"))
FINE = [("ok", "by UDP: 24 of 24 answered, the slowest after 2.0 ms"), ("ok", "by TCP: 24 of 24")]


@pytest.mark.parametrize(
    "made, wanted",
    [
        (known(), [("ok", "shardns 0.1.0, pid 7, up for 1m")]),
        (nothing(), [("fail", "no shardns runs here -> start it: ")]),
        (known(source="nothing", trouble="no answer", control="@shardns/x"), [("fail", "@shardns/x: no answer")]),
        (known(source="nothing", trouble="uid 5", obstacle="forbidden"), [("skip", "uid 5 -> run it as root")]),
        (known(source="nothing", trouble="what?", obstacle="foreign"), [("warn", "what? -> another version runs")]),
        (
            known(source="flags", is_running=False, trouble="none", config_errors=("Corefile:1:1: bad",)),
            [("fail", "Corefile:1:1: bad -> correct it"), ("fail", "none -> start it")],
        ),
    ],
)
def test_program(made, wanted):
    """It runs and answers its operator, or it is said how to start it."""
    assert_like(check_serving.program(made), wanted)


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        ({}, [UDP, UDP, TCP, TCP], ("ok", "2 UDP and 2 TCP sockets of ours, 2 workers")),
        ({}, [UDP, TCP, TCP], ("fail", "1 UDP sockets for 2 workers")),
        ({}, [UDP, UDP], ("fail", "0 TCP sockets for 2 workers")),
        (
            {},
            [UDP, UDP, TCP, TCP, SocketSeen("udp", LOCAL, 53, False, "dnsmasq (pid 12)")],
            ("fail", "dnsmasq (pid 12) listens there too"),
        ),
        ({}, [UDP, UDP, TCP, TCP, SocketSeen("udp", "0.0.0.0", 53, False, "named (pid 3)")], ("ok", "")),
        ({}, [UDP, UDP, TCP, TCP, SocketSeen("udp", LOCAL, 54, False)], ("ok", "")),
        (
            {"pid": 0},
            [dataclasses.replace(one, is_ours=None) for one in (UDP, UDP, TCP, TCP)],
            ("ok", "seen by root only"),
        ),
        ({"is_running": False}, [], ("fail", "nobody listens -> start it")),
        (
            {"is_running": False},
            [SocketSeen("udp", LOCAL, 53, None, "named (pid 3)")],
            ("fail", "named (pid 3) listens"),
        ),
    ],
)
def test_sockets(changes, seen, wanted):
    """One of each protocol per worker, and no stranger in the group."""
    assert_like(check_serving.sockets(known(**changes), seen), [wanted])


def test_sockets_of_a_wildcard():
    """A listener on all addresses is a socket of either family's wildcard."""
    served = dataclasses.replace(known().served, listeners=(("", 53),))
    seen = [SocketSeen(protocol, "::", 53, is_ours=True) for protocol in ("udp", "udp", "tcp", "tcp")]
    assert_like(check_serving.sockets(known(served=served), seen), [("ok", ":53: 2 UDP")])


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, LATER), PROCESSES),
            [("ok", "worker 0 (pid 9): took 12 queries by UDP and 12 connections"), ("ok", "worker 1 (pid 10)"), *FINE],
        ),
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, LATER), (*PROCESSES[:2], ProcessSeen(10, "worker 1", "T"))),
            [
                ("fail", "worker 1 (pid 10) is stopped, by a signal or a debugger -> kill -CONT 10"),
                ("ok", "worker 0"),
                *FINE,
            ],
        ),
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, LATER), (*PROCESSES[:2], ProcessSeen(10, "worker 1", "Z"))),
            [("fail", "worker 1 (pid 10) has ended"), ("ok", "worker 0"), *FINE],
        ),
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, LATER), PROCESSES[:2]),
            [("ok", "worker 0"), ("fail", "worker 1 does not run"), *FINE],
        ),
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, Beat(4.2, 0.1, 112, 62))),
            [("ok", "worker 0:"), ("fail", "worker 1: its UDP loop is silent for 4.2 s"), *FINE],
        ),
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, Beat(0.1, None, 112, 62))),
            [("ok", "worker 0:"), ("fail", "worker 1: its event loop has not started"), *FINE],
        ),
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, Beat(1.0, 1.0, 100, 62))),
            [("ok", "worker 0:"), ("fail", "worker 1: took none of 24 queries by UDP"), *FINE],
        ),
        (
            {},
            WorkersSeen(ALL_WELL, (LATER, Beat(1.0, 1.0, 112, 50))),
            [("ok", "worker 0:"), ("fail", "worker 1: took none of 24 queries by TCP"), *FINE],
        ),
        (
            {},
            WorkersSeen((Asked(LOCAL, 53, "udp", 24, 11, 0.1, "no answer in time"),), (LATER, LATER)),
            [("ok", ""), ("ok", ""), ("fail", "11 of 24 answered: no answer in time -> a worker does not answer")],
        ),
        (
            {},
            WorkersSeen((Asked(LOCAL, 53, "udp", 24, 0, 0, "Connection refused"),), (LATER, LATER)),
            [("ok", ""), ("ok", ""), ("fail", "0 of 24 answered: Connection refused -> see sockets")],
        ),
        ({"upstream_silent_s": 5.0}, WorkersSeen(), [("fail", "upstream: silent for 5.0 s")]),
        ({"is_running": False}, WorkersSeen(), [("skip", "nothing runs")]),
    ],
)
def test_workers(changes, seen, wanted):
    """A worker that is stopped, gone, silent or passed by is named; so is an address that leaves queries open."""
    assert_like(check_serving.workers(known(**changes), seen), wanted)


def test_few_queries_prove_nothing():
    """With fewer queries than would reach every worker nearly surely, one that took none is not blamed."""
    few = (Asked(LOCAL, 53, "udp", 4, 4), Asked(LOCAL, 53, "tcp", 4, 4))
    assert_like(
        check_serving.workers(known(), WorkersSeen(few, (BEAT, BEAT))), [("ok", "took 0")] * 2 + [("ok", "4 of 4")] * 2
    )


@pytest.mark.parametrize(
    "answer, wanted",
    [
        (Answer("cluster.local.", "SOA", "NOERROR", 0.001), ("ok", "NOERROR after 1.0 ms")),
        (Answer("cluster.local.", "SOA", "NXDOMAIN", 0.001), ("ok", "NXDOMAIN")),
        (Answer("cluster.local.", "SOA", "SERVFAIL"), ("fail", "SERVFAIL -> see upstreams")),
        (Answer("cluster.local.", "SOA", error="no answer in time"), ("fail", "no answer in time")),
    ],
)
def test_answers(answer, wanted):
    """Any answer but SERVFAIL is one."""
    assert_like(check_serving.answers(known(), [((LOCAL, 53), answer)]), [wanted])


@pytest.mark.parametrize(
    "target, protocol, answer, wanted",
    [
        (
            KUBE_DNS,
            "tcp",
            Answer("x.", "SOA", "NOERROR", 0.001),
            ("ok", "10.96.0.11:53 by TCP: NOERROR to x. SOA after"),
        ),
        (KUBE_DNS, "tcp", Answer("x.", "SOA", error="Connection refused"), ("fail", "by TCP: Connection refused ->")),
        (KUBE_DNS, "udp", Answer("x.", "SOA", error="no answer in time"), ("warn", "(force_tcp: it is not asked so)")),
        (PUBLIC, "udp", Answer("x.", "SOA", error="no answer in time"), ("fail", "192.0.2.53:53 by UDP: no answer")),
        (PUBLIC, "udp", Answer("x.", "SOA", "REFUSED"), ("warn", "REFUSED to x. SOA")),
        (PUBLIC, "udp", Answer("x.", "SOA", "NOERROR", 0.8), ("warn", "800.0 ms, which is slow")),
    ],
)
def test_upstreams(target, protocol, answer, wanted):
    """A nameserver that does not answer is named, with the way by which it was asked."""
    assert_like(check_serving.upstreams(known(), [(target, protocol, answer)]), [wanted])


@pytest.mark.parametrize(
    "page, wanted",
    [
        (Page(200, "OK"), ("ok", "health at 127.0.0.1:8080: 200")),
        (Page(503, "worker 0: serve silent\nworker 1: gone"), ("fail", "503 worker 0: serve silent, worker 1: gone")),
        (Page(0, "Connection refused"), ("fail", "Connection refused -> is the port taken?")),
        (Page(200, "OK", "nginx (pid 4)"), ("fail", "nginx (pid 4) listens there")),
    ],
)
def test_pages(page, wanted):
    """A page is served by us and says 200."""
    assert_like(check_serving.pages(known(), [("health", "127.0.0.1:8080", page)]), [wanted])


def test_pages_of_nothing():
    """Where nothing runs no page is missed."""
    assert_like(check_serving.pages(known(is_running=False), []), [("skip", "nothing runs")])


def test_nothing_is_known():
    """Without a shardns and without flags, what could not be looked at is skipped."""
    for check in (check_serving.sockets, check_serving.answers, check_serving.upstreams, check_serving.pages):
        assert [one.state for one in check(nothing(), ())] == ["skip"]


@pytest.mark.parametrize("running, wanted", [(shardns.__version__, "ok"), ("9.9.9", "warn"), ("", "skip")])
def test_version(running, wanted):
    """Another version than this program's is told."""
    assert check_serving.version(known(version=running)).state == wanted
