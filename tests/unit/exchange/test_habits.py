import pytest

from shardns.exchange.ask import Ask
from shardns.exchange.habits import BELIEVED_S, HOLD_UPS, MAX_DEPTH, STUCK_S, Habits
from shardns.exchange.ids import Ids
from shardns.exchange.tcp_mux import TcpMux
from tests.unit.exchange.asks import answer, ask, frame


def held_up(habits: Habits, now: float) -> None:
    """As many hold-ups as are believed."""
    for _ in range(HOLD_UPS):
        habits.held_up(now)


def test_serial_is_believed_for_a_while():
    """Evidence of answers in turn counts until it is old."""
    habits = Habits()
    assert not habits.serial(0.0)
    held_up(habits, 10.0)
    assert habits.serial(10.0 + BELIEVED_S - 1)
    assert not habits.serial(10.0 + BELIEVED_S)


def test_few_hold_ups_are_accidents():
    """Fewer than HOLD_UPS within their time prove nothing."""
    habits = Habits()
    for n in range(HOLD_UPS * 2):
        habits.held_up(n * BELIEVED_S)
        assert not habits.serial(n * BELIEVED_S)
    for n in range(1, HOLD_UPS + 1):
        habits.held_up(HOLD_UPS * 2 * BELIEVED_S)
        assert habits.serial(HOLD_UPS * 2 * BELIEVED_S) == (n == HOLD_UPS)


def test_one_overtaking_answer_proves_parallel_for_good():
    """Whoever answers out of order once does not answer in turn."""
    habits = Habits()
    held_up(habits, 0.0)
    habits.overtaken()
    assert not habits.serial(1.0)
    held_up(habits, 2.0)
    assert not habits.serial(3.0)


class Held:
    """A connection whose first query has got no answer, so that it and the one behind it were asked elsewhere too."""

    def __init__(self) -> None:
        self.mux, self.other = TcpMux(Ids()), TcpMux(Ids())
        self.habits = Habits()
        self.first, self.behind = ask("slow.example.org."), ask("behind.example.org.")
        for each in (self.first, self.behind):
            self.mux.send(each, 1.0)
        for each in self.mux.overdue(1.0):
            each.troubled().places = 2
            self.other.send_again(each, 1.2)

    def answered(self, mux: TcpMux, *asks: Ask, now: float) -> None:
        """These are answered on that connection."""
        sent = {each: ident for ident, (each, _) in mux.late.items()}
        stream = b"".join(frame(answer(sent[each] + each.query[2:])) for each in asks)
        self.habits.answered(mux, mux.feed(stream), now)

    @property
    def hold_ups(self) -> int:
        return self.habits._hold_ups


def test_hold_up():
    """What waited is answered elsewhere, what it waited for is slow there too: the connection was held up."""
    held = Held()
    held.answered(held.other, held.behind, now=1.21)
    held.answered(held.mux, held.first, now=1.21 + STUCK_S)
    assert held.hold_ups == 1


def test_silent_connection_is_no_hold_up():
    """The first query is answered elsewhere as well: its connection was silent, not held up."""
    held = Held()
    held.answered(held.other, held.behind, held.first, now=1.21)
    held.answered(held.mux, held.first, held.behind, now=1.4)
    assert held.hold_ups == 0


def test_all_at_once_is_no_hold_up():
    """Both connections answer about when the upstream runs again: it was held up, not the connection."""
    held = Held()
    held.answered(held.other, held.behind, now=1.21)
    held.answered(held.mux, held.first, held.behind, now=1.22)
    assert held.hold_ups == 0


def test_nothing_behind_is_no_hold_up():
    """A slow query that nothing waited for."""
    held = Held()
    held.answered(held.mux, held.first, now=1.4)
    held.answered(held.mux, held.behind, now=1.5)
    assert held.hold_ups == 0


def test_query_that_was_asked_once_is_no_hold_up():
    """Where it was not asked elsewhere nobody knows how long it would have taken there."""
    held = Held()
    held.first.troubled().places = 1
    held.answered(held.other, held.behind, now=1.21)
    held.answered(held.mux, held.first, now=1.4)
    assert held.hold_ups == 0


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
