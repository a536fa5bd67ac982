from shardns.exchange.ids import Ids
from shardns.exchange.reply import Verdict
from shardns.exchange.udp import UdpMatch
from tests.unit.exchange.asks import answer, ask


def test_answer_finds_its_ask_once():
    """The right id and question end the wait; the same datagram again is unknown."""
    match = UdpMatch(Ids())
    one, two = ask("a.example.org."), ask("b.example.org.")
    first, second = match.send(one), match.send(two)
    assert match.receive(answer(second)) == (two, Verdict.GOOD)
    assert match.receive(answer(second)) is None
    assert match.receive(answer(first)) == (one, Verdict.GOOD)
    assert match.unknown_ids == 1
    assert not match.waiting


def test_what_does_not_match_is_counted_and_the_wait_goes_on():
    """Wrong id, wrong question, a query, rubbish: ignored."""
    match = UdpMatch(Ids())
    one = ask()
    sent = match.send(one)
    other = bytes((sent[0] ^ 1,)) + sent[1:]
    for datagram in (b"", b"\1", sent[:2], sent, answer(other), answer(sent[:13] + b"X" + sent[14:])):
        assert match.receive(datagram) is None
    assert (match.unknown_ids, match.wrong_questions) == (3, 3)
    assert match.receive(answer(sent)) == (one, Verdict.GOOD)


def test_truncated_and_cut_answers_end_the_wait():
    """What to do about truncation is the pool's to decide."""
    match = UdpMatch(Ids())
    sent = match.send(ask())
    matched = match.receive(answer(sent)[:-16])
    assert matched is not None
    assert matched[1] is Verdict.CUT
