import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shardns.exchange.ask import Ask
from shardns.exchange.ids import Ids
from shardns.exchange.tcp_mux import TcpMux
from tests.unit.exchange.asks import answer, ask, frame, ids_of


def test_frames_carry_length_and_a_fresh_id():
    """A frame is the length, the id, and the rest of the query as it was."""
    mux = TcpMux(Ids())
    one, two = ask("a.example.org."), ask("b.example.org.")
    mux.send(one, 1.0)
    mux.send(two, 1.0)
    assert [each[:2] for each in mux.out] == [len(one.query).to_bytes(2, "big")] * 2
    assert [each[4:] for each in mux.out] == [one.query[2:], two.query[2:]]
    assert len(set(ids_of(mux.out))) == 2


def test_long_query_is_framed():
    """A query beyond the table of lengths is framed all the same."""
    long = Ask(ask().query + bytes(600), True, lambda _: None, 0.0)
    mux = TcpMux(Ids())
    mux.send(long, 0.0)
    assert mux.out[0][:2] == len(long.query).to_bytes(2, "big")


def test_answers_in_any_order_and_any_pieces():
    """Answers find their asks out of order, even byte by byte."""
    mux = TcpMux(Ids())
    asks = [ask(f"n{n}.example.org.") for n in range(5)]
    for each in asks:
        mux.send(each, 0.0)
    stream = b"".join(frame(answer(each[2:])) for each in reversed(mux.out))
    found = [triple for n in range(len(stream)) for triple in mux.feed(stream[n : n + 1])]
    assert [each for each, _, _ in found] == list(reversed(asks))
    assert len(mux) == 0
    assert mux.heard == 5


def test_unknown_id_is_counted_and_skipped():
    """An answer that nobody waits for changes nothing; nor does a second answer."""
    mux = TcpMux(Ids(lambda n: b"\0\1" * (n // 2)))
    one = ask()
    mux.send(one, 0.0)
    stray = answer(b"\7\7" + one.query[2:])
    right = answer(b"\0\1" + one.query[2:])
    assert [each for each, _, _ in mux.feed(frame(stray) + frame(right) + frame(right))] == [one]
    assert mux.unknown_ids == 2
    assert not mux.broken


@pytest.mark.parametrize("length", [0, 1, 11])
def test_frame_too_short_for_a_header_breaks_the_stream(length):
    """What follows a nonsense length cannot be read; answers before it still count."""
    mux = TcpMux(Ids())
    one, two = ask(), ask()
    mux.send(one, 0.0)
    mux.send(two, 0.0)
    found = mux.feed(frame(answer(mux.out[0][2:])) + frame(mux.out[1][2 : 2 + length]) + frame(answer(mux.out[1][2:])))
    assert [each for each, _, _ in found] == [one]
    assert mux.broken
    assert mux.abandon() == [two]


def test_overdue_takes_the_oldest_and_keeps_their_ids():
    """Overdue asks are told once, and their answers are still taken, with the time of their sending here."""
    mux = TcpMux(Ids())
    asks = [ask(f"n{n}.example.org.") for n in range(4)]
    for n, each in enumerate(asks):
        mux.send(each, float(n))
    assert mux.oldest() == 0.0
    assert mux.overdue(1.0) == asks[:2]
    assert mux.overdue(1.0) == []
    assert mux.oldest() == 2.0
    assert mux.oldest_late() == 0.0
    assert len(mux) == 4
    found = mux.feed(frame(answer(mux.out[1][2:])))
    assert [(each, sent) for each, _, sent in found] == [(asks[1], 1.0)]
    assert len(mux) == 3


def test_progress_is_the_youngest_answered_sending():
    """An answer proves that what was sent before it has been overtaken."""
    mux = TcpMux(Ids())
    for n in range(3):
        mux.send(ask(), float(n))
    assert mux.progress < 0
    mux.feed(frame(answer(mux.out[1][2:])))
    assert mux.progress == 1.0
    mux.feed(frame(answer(mux.out[0][2:])))
    assert mux.progress == 1.0


def test_forgotten_asks_free_their_ids():
    """What is given up for good is unknown when it is answered."""
    mux = TcpMux(Ids())
    one = ask()
    mux.send_again(one, 5.0)
    assert mux.forget(4.0) == []
    assert mux.forget(5.0) == [one]
    mux.feed(frame(answer(mux.out[0][2:])))
    assert mux.unknown_ids == 1


def test_abandon_gives_everything_back_once():
    """A dead connection returns all its asks, late ones too, and holds nothing any more."""
    mux = TcpMux(Ids())
    asks = [ask(), ask(), ask()]
    mux.send(asks[0], 0.0)
    mux.overdue(0.0)
    mux.send_again(asks[1], 1.0)
    mux.send(asks[2], 1.0)
    assert mux.abandon() == asks
    assert mux.abandon() == []
    assert not mux.out


class AnyInterleaving(RuleBasedStateMachine):
    """However sendings, answers, pieces, time-outs, strays and the end interleave: ids in use never collide, each ask
    comes out exactly once, with an answer that bears its id, and nothing stays behind.
    """

    ID_SPACE = 12  # so few that they come round quickly

    def __init__(self) -> None:
        super().__init__()
        cycle = itertools.cycle(range(self.ID_SPACE))
        self.mux = TcpMux(Ids(lambda count: b"".join(next(cycle).to_bytes(2, "big") for _ in range(count // 2))))
        self.open: dict[Ask, bytes] = {}
        self.came_out: list[Ask] = []
        self.unanswered: list[bytes] = []
        self.stream = b""
        self.now = 0.0
        self.sent = 0

    def end(self, each: Ask) -> bytes:
        """The ask came out; its id."""
        self.came_out.append(each)
        return self.open.pop(each)

    def read(self, size: int) -> None:
        for each, wire, _ in self.mux.feed(self.stream[:size]):
            assert wire[:2] == self.end(each)
        self.stream = self.stream[size:]

    @precondition(lambda self: len(self.mux) < self.ID_SPACE)
    @rule(again=st.booleans())
    def send(self, again):
        each = ask(f"n{self.sent}.example.org.")
        self.now += 1.0
        self.sent += 1
        (self.mux.send_again if again else self.mux.send)(each, self.now)
        query = self.mux.out.pop()[2:]
        assert query[:2] not in self.open.values(), "an id in use was given out again"
        self.open[each] = query[:2]
        self.unanswered.append(query)

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data())
    def answer(self, data):
        place = data.draw(st.integers(0, len(self.unanswered) - 1))
        self.stream += frame(answer(self.unanswered.pop(place)))

    @rule()
    def stray(self):
        self.stream += frame(answer(b"\xff\xff" + ask().query[2:]))

    @precondition(lambda self: self.stream)
    @rule(data=st.data())
    def receive(self, data):
        self.read(data.draw(st.integers(1, len(self.stream))))

    @rule(age=st.integers(0, 5))
    def overdue(self, age):
        assert all(each in self.open for each in self.mux.overdue(self.now - age))

    @rule(age=st.integers(3, 9))
    def forget(self, age):
        self.read(len(self.stream))
        for each in self.mux.forget(self.now - age):
            ident = self.end(each)
            # Its id may be given out again, so an answer to it now would be for somebody else: the judge's business.
            self.unanswered = [query for query in self.unanswered if query[:2] != ident]

    @invariant()
    def holds_what_is_open(self):
        assert len(self.mux) == len(self.open)
        assert set(self.mux.waiting) | set(self.mux.late) == set(self.open.values())

    def teardown(self) -> None:
        self.read(len(self.stream))
        for each in self.mux.abandon():
            self.end(each)
        assert not self.open
        assert len(self.came_out) == len(set(self.came_out)) == self.sent
        assert len(self.mux) == 0


TestAnyInterleaving = AnyInterleaving.TestCase


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes(chunks):
    """Whatever a peer sends, the mux neither raises nor invents an answer with another id."""
    mux = TcpMux(Ids(lambda n: bytes(range(256))[:n] * (n // 256 + 1)))
    asks = [ask() for _ in range(4)]
    for each in asks:
        mux.send(each, 0.0)
    for chunk in chunks:
        for each, wire, _ in mux.feed(chunk):
            assert each in asks
            assert len(wire) >= 12
