"""Permanent numbers."""

from __future__ import annotations

import pytest

from shardns.errors import ConfigError, Position
from shardns.plan import MAX_LISTENERS, MAX_ROWS, Registry


def test_numbers():
    """Numbers count from 0, and the same question gets the same number."""
    registry = Registry()
    assert [registry.listener("", 53), registry.listener("::1", 53), registry.listener("", 53)] == [0, 1, 0]
    assert [registry.row("dns://:53", "."), registry.row("dns://:53", "a."), registry.row("dns://:53", ".")] == [
        0,
        1,
        0,
    ]


def test_limits():
    """The last number is the last place in shared memory."""
    registry = Registry()
    assert [registry.listener("", port) for port in range(MAX_LISTENERS)][-1] == MAX_LISTENERS - 1
    assert [registry.row("", str(n)) for n in range(MAX_ROWS)][-1] == MAX_ROWS - 1
    at = Position("Corefile", 1, 1)
    for ask in (lambda: registry.listener("", 9999, at), lambda: registry.row("", "one more", at)):
        with pytest.raises(ConfigError, match="more than") as caught:
            ask()
        assert caught.value.at == at


def test_copy():
    """A copy goes its own way until it is adopted."""
    registry = Registry()
    registry.listener("", 53)
    other = registry.copy()
    assert other.listener("", 54) == 1
    assert registry.listener("", 55) == 1
    registry.adopt(other)
    assert registry.listener("", 54) == 1
    assert registry.listener("", 55) == 2
