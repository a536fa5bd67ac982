import pytest

from shardns.exchange.habits import BELIEVED_S, MAX_DEPTH, Habits


def test_serial_is_believed_for_a_while():
    """Evidence of answers in turn counts until it is old."""
    habits = Habits()
    assert not habits.serial(0.0)
    habits.stuck(10.0)
    assert habits.serial(10.0 + BELIEVED_S - 1)
    assert not habits.serial(10.0 + BELIEVED_S)


def test_one_overtaking_answer_proves_parallel_for_good():
    """Whoever answers out of order once does not answer in turn."""
    habits = Habits()
    habits.stuck(0.0)
    habits.overtaken()
    assert not habits.serial(1.0)
    habits.stuck(2.0)
    assert not habits.serial(3.0)


@pytest.mark.parametrize("answers, limit", [([128], 0), ([128, 128], 128), ([5, 7], 0), ([0, 0], 0), ([9, 1, 1], 1)])
def test_queries_per_connection(answers, limit):
    """Two connections closed after the same number of answers tell how many one takes."""
    habits = Habits()
    for count in answers:
        habits.closed(count, 0.0)
    assert habits.limit(1.0) == limit
    assert habits.limit(BELIEVED_S) == 0
    assert habits.serial(1.0) == (limit == 1)


@pytest.mark.parametrize("usual_s, depth", [(0.0, MAX_DEPTH), (0.0001, MAX_DEPTH), (0.001, 30), (0.02, 1), (2.0, 1)])
def test_depth(usual_s, depth):
    """The slower the upstream, the fewer queries wait behind one another."""
    assert Habits().depth(usual_s) == depth
