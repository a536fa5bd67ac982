import random

import pytest

from perf.endurance import clients
from tests.peers import fake

HOT = clients.question(5, 77, hot=True)
MISSING = clients.question(11, 77, hot=False)
NO_SUCH_TYPE = clients.question(2, 77, hot=False)


def answered(asked):
    """What a right server says."""
    reply = fake.respond(asked.message)
    assert reply is not None
    return reply


@pytest.mark.parametrize("asked", [HOT, MISSING, NO_SUCH_TYPE])
def test_right(asked):
    """A right answer has no fault: an address that follows from the name, NXDOMAIN, or no record."""
    assert asked.fault(answered(asked)) == ""


@pytest.mark.parametrize(
    "at, value, wanted",
    [
        (1, 78, "another question"),
        (2, 0, "no reply at all"),
        (3, 0x82, "servfail"),
        (3, 0x83, "rcode 3"),
        (7, 0, "another address"),
        (13, ord("x"), "another question"),
        (-4, 0, "another address"),
    ],
)
def test_fault(at, value, wanted):
    """Every octet that makes an answer another client's, another name's or another one is seen."""
    reply = bytearray(answered(HOT))
    end = 12 + len(HOT.name) + 4 + 16
    reply[end + at if at < 0 else at] = value
    assert HOT.fault(bytes(reply)) == wanted


def test_an_answer_where_there_is_none():
    """A record for a name that has none is wrong."""
    reply = bytearray(answered(NO_SUCH_TYPE))
    reply[7] = 1
    assert NO_SUCH_TYPE.fault(bytes(reply))


@pytest.mark.parametrize(
    "begin, end, wanted", [(0, 9, False), (5, 10, True), (11, 12, True), (15, 21.5, True), (22.5, 30, False)]
)
def test_windows(begin, end, wanted):
    """A query meets an outage when any moment of it, or of the grace after it, lies between asking and answer."""
    windows = clients.Windows()
    windows.begin(10)
    windows.end(20)
    assert windows.touches(begin, end, 2) is wanted


def test_an_outage_is_no_excuse_for_a_hit():
    """SERVFAIL is right for a miss while the nameserver is away, and wrong for what is in the cache."""
    chaos = clients.Chaos()
    chaos.outages.begin(0)
    client = clients.Client(0, chaos, 0)
    for asked in (HOT, MISSING):
        reply = bytearray(answered(asked))
        reply[3] = 0x82
        client.judge(asked, bytes(reply), 1)
    assert client.excused == 1
    assert len(client.findings) == 1


def test_odd_packets_differ():
    """Odd packets are of many lengths, some of them no question at all."""
    chance = random.Random(1)
    packets = [clients.odd(chance) for _ in range(500)]
    assert len({len(packet) for packet in packets}) > 100
    assert any(len(packet) < 12 for packet in packets)
