"""bind: addresses, interfaces, exceptions."""

from __future__ import annotations

import pytest

from tests.unit.plugins.setups import Setup, config, errors


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("bind 169.254.20.10 10.96.0.10", ("169.254.20.10", "10.96.0.10")),
        ("bind 192.0.2.1\nbind 192.0.2.2", ("192.0.2.1", "192.0.2.2")),
        ("bind 2001:0db8::0001 0.0.0.0", ("2001:db8::1", "0.0.0.0")),
        ("bind eth0", ("192.0.2.10", "2001:db8::10", "fe80::1%eth0")),
        ("bind eth0 {\n except 2001:db8:0::10\n except fe80::1%eth0\n}", ("192.0.2.10",)),
        ("bind eth0 192.0.2.1 {\n except eth0\n}", ("192.0.2.1",)),
    ],
)
def test_addresses(text, wanted):
    """Lines add up, interfaces stand for their addresses, exceptions are taken away."""
    assert config(text).addresses == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("bind", ["1:1: bind needs 1 argument, has 0"]),
        (
            "bind x 192.0.2.1 y",
            [f'1:{c}: bind: neither an IP address nor an interface: got "{n}"' for c, n in ((6, "x"), (18, "y"))],
        ),
        ("bind 192.0.2.1:53", ['1:6: bind: neither an IP address nor an interface: got "192.0.2.1:53"']),
        ("bind eth0 {\n except\n}", ["2:2: bind: except needs 1 argument, has 0"]),
        ("bind eth0 {\n but eth1\n}", ['2:2: bind: unknown option: got "but"']),
        ("bind eth0 {\n except eth0\n}", ["1:1: bind: except leaves no address"]),
    ],
)
def test_errors(text, wanted):
    """What cannot be bound is blamed where it stands."""
    assert errors(text) == wanted


def test_warnings():
    """Repetitions and interfaces without address are told."""
    assert Setup("bind 192.0.2.1 192.0.2.1").warned == ["bind: 192.0.2.1 is given again"]
    assert Setup("bind 192.0.2.1 down0").warned == ['bind: interface has no address: got "down0"']
