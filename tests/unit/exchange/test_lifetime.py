from random import Random

import pytest

from shardns.exchange.health import NEVER
from shardns.exchange.lifetime import LEARNED_FOR_S, Lifetime


def test_ages_are_spread_below_the_limit():
    """Connections made together do not end together."""
    lifetime = Lifetime(30.0, Random(1))
    ages = [lifetime.draw(0.0) for _ in range(100)]
    assert all(15 <= age <= 30 for age in ages)
    assert len({round(age) for age in ages}) > 10


def test_no_limit():
    """0 leaves connections alone."""
    assert Lifetime(0.0, Random(1)).draw(0.0) == NEVER


@pytest.mark.parametrize("ages, learned_s", [([0.2], 0), ([0.2, 0.21], 0.2), ([0.2, 5.0], 0), ([9.0, 0.3, 0.29], 0.29)])
def test_two_ends_alike_are_a_lesson(ages, learned_s):
    """One end by the peer is an accident; two in a row at about the same age are its habit."""
    lifetime = Lifetime(30.0, Random(1))
    for age in ages:
        lifetime.closed_by_peer(age, 0.0)
    assert lifetime.learned_s == learned_s


def test_lesson_is_used_and_forgotten():
    """Connections are replaced well before the learned age, until the lesson is old."""
    lifetime = Lifetime(30.0, Random(1))
    lifetime.closed_by_peer(0.2, 0.0)
    lifetime.closed_by_peer(0.2, 0.2)
    assert 0.1 < lifetime.draw(1.0) < 0.15
    assert lifetime.draw(1.0 + LEARNED_FOR_S) > 10
