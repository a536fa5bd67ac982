import errno

import pytest

from shardns.exchange.config import Upstream
from shardns.exchange.outcome import dial_text, limit_text, read_text


@pytest.mark.parametrize(
    "text, wanted",
    [
        (dial_text("tcp", "192.0.2.1:53", errno.ECONNREFUSED), "dial tcp 192.0.2.1:53: connect: connection refused"),
        (dial_text("tcp", "192.0.2.1:53", errno.EHOSTUNREACH), "dial tcp 192.0.2.1:53: connect: no route to host"),
        (dial_text("udp", "192.0.2.1:53", errno.ENETUNREACH), "dial udp 192.0.2.1:53: connect: network is unreachable"),
        (dial_text("tcp", "192.0.2.1:53", errno.ETIMEDOUT), "dial tcp 192.0.2.1:53: i/o timeout"),
        (
            read_text("tcp", "192.0.2.7:4000", "192.0.2.1:53", errno.ECONNRESET),
            "read tcp 192.0.2.7:4000->192.0.2.1:53: read: connection reset by peer",
        ),
        (read_text("udp", "192.0.2.7:4000", "192.0.2.1:53", 0), "read udp 192.0.2.7:4000->192.0.2.1:53: i/o timeout"),
        (limit_text(1000), "concurrent queries exceeded maximum 1000"),
    ],
)
def test_errors_are_worded_as_go_words_them(text, wanted):
    """Operators grep CoreDNS's error lines: ours read the same."""
    assert text == wanted


@pytest.mark.parametrize("host, label", [("192.0.2.1", "192.0.2.1:53"), ("2001:db8::1", "[2001:db8::1]:53")])
def test_upstream_label(host, label):
    """IPv6 addresses stand in brackets."""
    assert Upstream.at(host).label == label
