import pytest

from shardns.dns import message, names
from shardns.exchange.ask import Ask


@pytest.mark.parametrize("facets", [{}, {"do": True}, {"udp_size": 1232}])
def test_question_is_found_in_any_query(facets):
    """With or without OPT the question is name, type and class."""
    query = message.query(names.to_wire("www.example.org."), 28, id=0, **facets)
    assert Ask(query, True, lambda _: None, 0.0).question == names.to_wire("www.example.org.") + b"\0\x1c\0\1"


def test_trouble_is_made_once():
    """The record of trouble stays the same."""
    query = message.query(names.to_wire("www.example.org."), 28, id=0)
    ask = Ask(query, True, lambda _: None, 0.0)
    assert ask.trouble is None
    assert ask.troubled() is ask.troubled()
    assert ask.trouble is not None
