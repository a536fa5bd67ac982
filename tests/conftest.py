"""Fixtures for every test: real nameservers with the small cluster, ports, namespaces; logs of whatever still runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.peers import nameservers, netns, ports, process
from tests.peers.nameservers import Nameserver
from tests.peers.netns import Namespace

# Hypothesis holds 200 ms for one example, or slow drawing, to be failures: on a busy machine they are not.
hypothesis.settings.register_profile("shardns", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shardns")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test's report shows the end of the log of every process that ran."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's Result; its type is not exported by pytest
    if report.failed:
        report.sections += [(f"log of {one.name} (pid {one.pid})", one.tail()) for one in process.RUNNING]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests under tests/e2e carry the marker e2e; tests that need namespaces are skipped where none can be made."""
    why = netns.can_make()
    here = Path(__file__).parent
    for item in items:
        if (here / "e2e") in item.path.parents:
            item.add_marker(pytest.mark.e2e)
        if why and item.get_closest_marker("netns"):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def port() -> Iterator[int]:
    """A free port of 127.0.0.1, for UDP and TCP, held until the test ends."""
    with ports.reserved() as free:
        yield free


@pytest.fixture(scope="session")
def cluster() -> str:
    """The small cluster as zone-file text."""
    from supervisor.cli import standin  # noqa: PLC0415 - a test of one part must not need the command line to import

    return standin.records()


@pytest.fixture(scope="session")
def standin_port() -> Iterator[int]:
    """The port of the embedded stand-in for kube-dns, which has no state a test could change."""
    from supervisor.cli import standin  # noqa: PLC0415 - as above

    with standin.serve() as (_, free):
        yield free


@pytest.fixture(scope="session")
def kube_dns(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nameserver]:
    """Unbound with the small cluster: stands for kube-dns in every test that does not change it."""
    with nameservers.unbound(cluster, tmp_path_factory.mktemp("kube-dns")) as server:
        yield server


@pytest.fixture(scope="session")
def knot(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nameserver]:
    """Knot DNS with the small cluster, for every test that does not change it."""
    with nameservers.knot(cluster, tmp_path_factory.mktemp("knot")) as server:
        yield server


@pytest.fixture
def new_namespace() -> Iterator[Callable[[str], Namespace]]:
    """Makes network namespaces that are gone when the test ends; the test carries the marker netns."""
    with contextlib.ExitStack() as stack:
        yield lambda label: stack.enter_context(netns.namespace(label))
