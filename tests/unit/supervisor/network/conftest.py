"""A node of one's own: the test's thread is inside a network namespace, where its programs and sockets are, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers import netns
from tests.peers.netns import Namespace


@pytest.fixture
def node() -> Iterator[Namespace]:
    """The namespace that the test is in; the test carries the marker netns."""
    with netns.namespace("node") as made, netns.entered(made):
        yield made
