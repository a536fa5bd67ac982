"""Fixtures of the unit tests that need a data plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.unit.core.world import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """A maker of worlds, see World; what it made is closed at the end."""
    made: list[World] = []

    def make(**rule: object) -> World:
        made.append(World(**rule))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A plain world."""
    return make_world()
