"""Fixtures of the end-to-end suite: whole programs in front of real peers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.e2e import shardns as program
from tests.e2e.shardns import Shardns
from tests.peers import fake
from tests.peers.nameservers import Nameserver
from tests.peers.script import SOA, Say, Script


@pytest.fixture(scope="module")
def served(kube_dns: Nameserver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shardns]:
    """The stock Corefile in front of unbound, for every test of a module that does not change it."""
    upstream = f"{kube_dns.host}:{kube_dns.port}"
    with program.shardns(tmp_path_factory.mktemp("served"), upstream=upstream) as made:
        yield made


@pytest.fixture
def launch(tmp_path) -> Iterator[Callable[..., Shardns]]:
    """Starts shardns as program.shardns does; each one is ended, and looked at, when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **ways: stack.enter_context(program.shardns(tmp_path, *args, **ways))


@pytest.fixture
def scripted(launch) -> Iterator[Callable[..., tuple[Shardns, Script]]]:
    """Starts shardns in front of a nameserver that says what the test wrote; all other names are NXDOMAIN."""

    def start(
        says: Mapping[str, Say | list[Say]], corefile: str = program.STOCK, **ways: object
    ) -> tuple[Shardns, Script]:
        script = Script({"*": Say(rcode="NXDOMAIN", authority=SOA), **says})
        server = servers.enter_context(fake.nameserver(respond=script))
        return launch(corefile, upstream=f"127.0.0.1:{server.port}", **ways), script

    with contextlib.ExitStack() as servers:
        yield start
