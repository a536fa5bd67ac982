import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.dns import message, names
from shardns.exchange.reply import Verdict, as_truncated, bare_error, judge, question_of
from tests.fakes.nameserver import RECORD, answer

QUERY = message.query(names.to_wire("www.example.org."), 1, id=7)
QUESTION = QUERY[12:]
ANSWER = answer(QUERY)
HTTPS = message.query(names.to_wire("www.example.org."), 65, id=7)


def with_counts(an: int, ns: int = 0, ar: int = 0) -> bytes:
    """ANSWER with other counts in its header."""
    return ANSWER[:6] + bytes((0, an, 0, ns, 0, ar)) + ANSWER[12:]


@pytest.mark.parametrize(
    "wire, wanted",
    [
        (ANSWER, Verdict.GOOD),
        (answer(QUERY, rcode=3), Verdict.GOOD),
        (ANSWER.replace(b"www", b"WWw"), Verdict.GOOD),
        (with_counts(1, 1, 1) + RECORD + RECORD, Verdict.GOOD),
        (with_counts(2) + b"\3www\xc0\x0c" + RECORD[2:], Verdict.GOOD),
        (with_counts(1, 0, 1) + b"\0\0\x29\4\xd0\0\0\0\0\0\0", Verdict.GOOD),
        (answer(QUERY, flags=0x8780), Verdict.TRUNCATED),
        (with_counts(2), Verdict.CUT),
        (with_counts(1, 0, 1), Verdict.CUT),
        (ANSWER[:-1], Verdict.CUT),
        (ANSWER[:-14], Verdict.CUT),
        (with_counts(2) + b"\3ww", Verdict.CUT),
        (with_counts(2) + b"\0", Verdict.CUT),
        (QUERY, Verdict.MALFORMED),
        (ANSWER[:11], Verdict.MALFORMED),
        (ANSWER[:20], Verdict.MALFORMED),
        (b"", Verdict.MALFORMED),
        (answer(message.query(names.to_wire("wwx.example.org."), 1, id=7)), Verdict.WRONG_QUESTION),
        (answer(message.query(names.to_wire("www.example.org."), 28, id=7)), Verdict.WRONG_QUESTION),
        (answer(message.query(names.to_wire("www.example.org."), 1, 3, id=7)), Verdict.WRONG_QUESTION),
        (ANSWER[:5] + b"\2" + ANSWER[6:], Verdict.WRONG_QUESTION),
        (b"\0\7\x81\x85\0\0\0\0\0\0\0\0", Verdict.BARE_ERROR),
        (b"\0\7\x81\x80\0\0\0\0\0\0\0\0", Verdict.MALFORMED),
    ],
)
def test_judge(wire, wanted):
    """Right question, whole, and a response: anything less has its own verdict."""
    assert judge(wire, QUESTION) is wanted


def test_type_is_not_folded():
    """Type 65 and type 97 differ only in what would be the case of a letter."""
    assert (
        judge(answer(message.query(names.to_wire("www.example.org."), 97, id=7)), HTTPS[12:]) is Verdict.WRONG_QUESTION
    )


def test_question_of_a_query_with_opt():
    """The question ends before the additional records."""
    query = message.query(names.to_wire("www.example.org."), 1, id=7, udp_size=1232)
    assert question_of(query) == QUESTION


@pytest.mark.parametrize("query", [b"", QUERY[:12], QUERY[:20], QUERY[:-1], bytes(12) + b"\x3fabc"])
def test_query_without_whole_question(query):
    """A query of ours that is cut short is our bug and raises."""
    with pytest.raises(ValueError, match="without a whole question"):
        question_of(query)


def test_bare_error_gets_its_question_back():
    """The rcode is kept and the question added, so that whoever stores it finds one."""
    wire = bare_error(b"\0\7\x81\x85\0\0\0\0\0\0\0\0", QUESTION)
    assert judge(wire, QUESTION) is Verdict.GOOD
    assert wire[3] & 15 == 5


def test_as_truncated():
    """Only header and question are left, with TC and honest counts."""
    wire = as_truncated(ANSWER[:-3], QUESTION)
    assert judge(wire, QUESTION) is Verdict.TRUNCATED
    assert wire[6:12] == bytes(6)
    assert len(wire) == 12 + len(QUESTION)


@given(st.binary(max_size=300) | st.builds(lambda cut, tail: ANSWER[:cut] + tail, st.integers(0, 60), st.binary()))
def test_any_bytes(wire):
    """Any bytes get a verdict; a good one has the question and is a response without TC."""
    verdict = judge(wire, QUESTION)
    if verdict is Verdict.GOOD:
        assert wire[12 : 12 + len(QUESTION)].lower() == QUESTION.lower()
        assert wire[2] & 0x82 == 0x80


@given(st.integers(0, len(ANSWER) - 1))
def test_no_part_is_good(size):
    """Cut anywhere, an answer is not taken for whole."""
    assert judge(ANSWER[:size], QUESTION) is not Verdict.GOOD
