"""The running shardns, asked; its operator socket is a script."""

import contextlib
import os
import socket
import threading

import msgpack
import pytest

from supervisor.doctor import look_serving
from supervisor.doctor.facts import Page, WorkersSeen
from supervisor.doctor.known import Served
from tests.peers import fake
from tests.unit.supervisor.doctor.facts import KUBE_DNS, known, nothing
from tests.unit.supervisor.doctor.test_asking import pages, soon
from tests.unit.supervisor.doctor.test_known import FACTS


@contextlib.contextmanager
def operator(tmp_path, *messages):
    """An operator socket that answers each connection with these messages, or never; gives its path."""
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as sock, contextlib.ExitStack() as stack:
        sock.bind(path)
        sock.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = sock.accept()
                    stack.callback(client.close)
                    client.sendall(b"".join(msgpack.packb(message) for message in messages))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_running(tmp_path):
    """What it says of itself is what is known; a listener that is no supervisor's child has no pid for us."""
    with operator(tmp_path, {"done": FACTS}) as path:
        made = look_serving.running(path, 5)
    assert (made.source, made.is_running, made.version, made.pid) == ("running", True, "0.1.0", 0)
    assert made.control == path


@pytest.mark.parametrize(
    "messages, obstacle, wanted",
    [
        ([], "silent", "the upstream process does not answer (timed out)"),
        ([{"error": "uid 1000 may not operate this process"}], "forbidden", "uid 1000 may not operate this process"),
        ([{"error": "unknown operation 'about'; there are lookup, dump"}], "foreign", "unknown operation 'about'"),
        ([{"done": {"version": "9"}}], "foreign", "what it says of itself cannot be understood"),
        ([7], "foreign", "not what an upstream process says"),
    ],
)
def test_a_running_one_that_does_not_tell(tmp_path, messages, obstacle, wanted):
    """Something listens there, and why it could not be asked is said."""
    with operator(tmp_path, *messages) as path:
        made = look_serving.running(path, 0.2)
    assert (made.source, made.is_running, made.obstacle) == ("nothing", True, obstacle)
    assert wanted in made.trouble


def test_nobody(tmp_path):
    """Nobody listens there: nothing runs."""
    made = look_serving.running(str(tmp_path / "none"), 0.2)
    assert (made.source, made.is_running) == ("nothing", False)
    assert "No such file or directory" in made.trouble


def test_workers():
    """Twelve queries per worker go to each address by each protocol, and what was not answered is counted."""
    with fake.nameserver(respond=lambda query: fake.respond(query) if query[-5] == 1 else None) as server:
        made = known(served=Served(listeners=(("127.0.0.1", server.port),)), source="flags", pid=0)
        seen = look_serving.workers(made, soon())
        assert (server.udp, server.tcp) == (24, 24)
    assert [(one.protocol, one.sent, one.answered) for one in seen.asked] == [("udp", 24, 24), ("tcp", 24, 24)]
    assert (seen.beats, seen.processes) == ((), ())


def test_answers_and_upstreams():
    """Zones are asked for at the address that serves them, nameservers by both protocols for their zone."""
    with fake.nameserver() as server:
        target = type(KUBE_DNS)("127.0.0.1", server.port, "cluster.local.", by_udp=True)
        served = Served(zones=(("servfail.", ("127.0.0.1", server.port)),), targets=(target,))
        ((address, answer),) = look_serving.answers(known(served=served), soon())
        asked = look_serving.upstreams(known(served=served), soon())
    assert (address[1], answer.name, answer.rcode) == (server.port, "servfail.", "SERVFAIL")
    assert [(one.label, protocol, answer.rcode) for one, protocol, answer in asked] == [
        (target.label, "udp", "NOERROR"),
        (target.label, "tcp", "NOERROR"),
    ]


def test_pages_share_the_time(monkeypatch):
    """A page that does not answer leaves the others their share."""
    given: list[float] = []

    def silent(_address: str, _path: str, timeout_s: float) -> Page:
        given.append(timeout_s)
        return Page(0, "timed out")

    monkeypatch.setattr("supervisor.doctor.asking.get", silent)
    served = Served(http=(("health", "127.0.0.1:9"), ("ready", "127.0.0.1:9"), ("metrics", "127.0.0.1:9")))
    look_serving.pages(known(served=served, pid=0), soon(6))
    assert given[0] <= 2 < given[1] <= 3 < given[2] <= 6


def test_pages_of_others():
    """A page is got from where it should be, and a program that is not ours is named as its owner."""
    with pages() as port:
        served = Served(http=(("metrics", f"127.0.0.1:{port}"), ("health", f"127.0.0.1:{port}")))
        ours = look_serving.pages(known(served=served, pid=os.getpid()), soon())
        others = look_serving.pages(known(served=served, pid=os.getppid()), soon())
    assert [(name, page.status, page.owner) for name, _, page in ours] == [("metrics", 200, ""), ("health", 503, "")]
    assert all(f"(pid {os.getpid()})" in page.owner for _, _, page in others)


def test_nothing_is_asked():
    """Where nothing runs, no query is sent."""
    assert look_serving.workers(nothing(), soon()) == WorkersSeen()
    assert look_serving.answers(nothing(), soon()) == []
    assert look_serving.pages(nothing(), soon()) == []
