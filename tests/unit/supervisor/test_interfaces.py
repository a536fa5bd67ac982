"""The addresses of this machine."""

from __future__ import annotations

import pytest

from supervisor.interfaces import by_interface, is_local


def test_loopback():
    """The loopback interface has its address on every Linux."""
    assert "127.0.0.1" in by_interface()["lo"]


@pytest.mark.parametrize(
    "address, wanted", [("127.0.0.1", True), ("127.7.7.7", True), ("192.0.2.1", False), ("2001:db8::1", False)]
)
def test_is_local(address, wanted):
    """What a socket can be bound to is local; documentation addresses are nobody's."""
    assert is_local(address) is wanted


def test_link_local_addresses_have_a_scope():
    """fe80:: means nothing without its interface."""
    for name, addresses in by_interface().items():
        for address in addresses:
            assert not address.startswith("fe80:") or address.endswith(f"%{name}")
