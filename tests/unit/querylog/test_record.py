from dataclasses import replace

import pytest

from shardns.querylog.record import name_text, remote_ip, remote_port
from tests.unit.querylog.records import record


@pytest.mark.parametrize("peer", [b"", bytes(2), bytes(6)])
def test_a_peer_that_is_no_address(peer):
    """An address that is too short to be one prints as nothing known, and raises nothing."""
    unknown = replace(record(), peer=peer)
    assert (remote_ip(unknown), remote_port(unknown)) == ("-", "0")


def test_name_text_is_kept():
    """A name that is asked again is not taken apart again."""
    before = name_text.cache_info().hits
    for _ in range(2):
        assert name_text(record(name="Kept.example.org.").name) == "kept.example.org."
    assert name_text.cache_info().hits > before
