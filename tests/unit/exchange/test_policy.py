from random import Random

from shardns.exchange.policy import Policy


def test_sequential_keeps_the_order():
    """Always from the first."""
    assert [list(Policy("sequential", 3, Random(1)).order()) for _ in range(2)] == [[0, 1, 2]] * 2


def test_round_robin_begins_with_the_second_as_coredns():
    """The first place moves on by one with each query; the others keep their order behind it."""
    policy = Policy("round_robin", 3, Random(1))
    assert [list(policy.order()) for _ in range(4)] == [[1, 0, 2], [2, 0, 1], [0, 1, 2], [1, 0, 2]]


def test_random_is_a_permutation_with_every_first():
    """Each upstream comes once per order, and each comes first about as often."""
    policy = Policy("random", 3, Random(1))
    orders = [list(policy.order()) for _ in range(3000)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert all(900 < sum(order[0] == n for order in orders) < 1100 for n in range(3))
