"""The addresses of this machine."""

from __future__ import annotations

from supervisor.interfaces import by_interface


def test_loopback():
    """The loopback interface has its address on every Linux."""
    assert "127.0.0.1" in by_interface()["lo"]


def test_link_local_addresses_have_a_scope():
    """fe80:: means nothing without its interface."""
    for name, addresses in by_interface().items():
        for address in addresses:
            assert not address.startswith("fe80:") or address.endswith(f"%{name}")
