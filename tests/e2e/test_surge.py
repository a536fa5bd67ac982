"""Two instances on one node, as in an upgrade with maxSurge: the new one begins with what the old one has cached."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from shardns.upstream.operator_client import OperatorClient
from tests.e2e.shardns import Shardns
from tests.peers import fake
from tests.peers.client import ask
from tests.peers.fake import FakeNameserver, address_text
from tests.peers.process import wait_until

NAMES = 200


def is_right(port: int, name: str) -> bool:
    """Whether name is answered with its own address."""
    answer = ask(name, port=port)
    return [str(record) for rrset in answer.answer for record in rrset] == [address_text(name)]


class Pod:
    """A client that asks new names, one after the other, as long as it is entered; a query without answer fails it."""

    def __init__(self, port: int) -> None:
        self.names: list[str] = []
        self._port = port
        self._failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            name = f"pod{number}.example.org."
            with contextlib.suppress(Exception):
                if is_right(self._port, name):
                    self.names.append(name)
                    continue
            self._failed.append(name)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and look at what came."""
        self._stop.set()
        self._thread.join()
        assert not self._failed


@pytest.fixture
def server() -> Iterator[FakeNameserver]:
    """Stands for kube-dns, and counts."""
    with fake.nameserver() as made:
        yield made


@pytest.fixture
def instance(launch, server) -> Callable[..., Shardns]:
    """Starts an instance; all of a test's have one operator socket, as all on a node have."""
    first: list[Shardns] = []

    def start(*flags: str) -> Shardns:
        port, control = (first[0].port, first[0].control) if first else (0, "")
        more = ("-control", control) if control else ()
        made: Shardns = launch(upstream=f"127.0.0.1:{server.port}", port=port, flags=(*more, *flags))
        first.append(made)
        return made

    return start


def test_begins_warm(instance, server):
    """What the old instance had cached the new one answers without asking kube-dns; queries go on, and none is lost.

    Then it goes on alone, and `shardns status` and its like reach it.
    """
    old = instance()
    kept = [f"kept{number}.example.org." for number in range(NAMES)]
    assert all(is_right(old.port, name) for name in kept)
    with Pod(old.port) as pod:
        wait_until(lambda: len(pod.names) > 100, what="queries")
        new = instance()
        assert new.events("segment.copied")
        assert old.events("table.lent")
        wait_until(lambda: len(pod.names) > 300, what="queries to both")
        assert new.scrape().total("shardns_http_busy") == 0
        old.stop()
    asked = server.queries
    assert all(is_right(new.port, name) for name in kept)
    assert server.queries == asked
    assert all(is_right(new.port, name) for name in pod.names)
    assert server.queries < asked + len(pod.names)
    new.wait_event("listener.opened", 4)  # metrics, health, ready, and at last the operator socket
    with OperatorClient(old.control) as client:
        assert client.stats()["table_entries"] >= NAMES
        assert client.about()["uptime_s"] < 60


def test_one_after_another(instance, server):
    """A third instance begins with what the first one had cached, through the second one."""
    first = instance()
    assert is_right(first.port, "kept.example.org.")
    second = instance()
    first.stop()
    second.wait_event("listener.opened", 4)
    third = instance()
    second.stop()
    asked = server.queries
    assert is_right(third.port, "kept.example.org.")
    assert server.queries == asked


def test_another_cache_size(instance, server):
    """A cache of another size is not copied: the new instance begins empty, says why, and serves."""
    old = instance()
    assert is_right(old.port, "kept.example.org.")
    new = instance("-cache-size", "64Mi")
    (refused,) = new.events("segment.refused")
    assert "cache size" in str(refused["reason"])
    old.stop()
    assert is_right(new.port, "kept.example.org.")


def test_a_stuck_neighbour(instance, server):
    """An old instance whose upstream process does not answer keeps the new one from nothing but its cache."""
    old = instance("-heartbeat-timeout", "1m")
    upstream = old.pids()["upstream"]
    os.kill(upstream, signal.SIGSTOP)
    new = instance()
    assert new.events("segment.refused")
    os.kill(upstream, signal.SIGCONT)
    old.stop()
    assert is_right(new.port, "kept.example.org.")
