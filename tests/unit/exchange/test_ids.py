import pytest

from shardns.exchange.ids import Ids


def test_ids_in_use_are_passed_over():
    """Neither container's ids are given out."""
    ids = Ids(lambda n: (b"\0\1\0\2\0\3" * n)[:n])
    assert ids.take({b"\0\1"}, {b"\0\2"}) == b"\0\3"


def test_ids_are_drawn_again_when_used_up():
    """The source is asked for many at a time, and again after those."""
    draws = []

    def source(count: int) -> bytes:
        draws.append(count)
        return bytes(count)

    ids = Ids(source)
    for _ in range(2049):
        ids.take(())
    assert draws == [4096, 4096]


@pytest.mark.parametrize("byte", [0, 1])
def test_ids_are_spread(byte):
    """Both bytes of the id vary over their whole range."""
    ids = Ids()
    assert len({ids.take(())[byte] for _ in range(4000)}) == 256
