import pytest

from perf import load, servers
from perf.servers import Wrong


@pytest.mark.parametrize(
    "expected, answered, asked, is_wrong",
    [
        ("hits", 100_000, 0, False),
        ("hits", 100_000, 119, False),
        ("hits", 100_000, 121, True),
        ("hits", 100, 100, True),
        ("misses", 10_000, 10_000, False),
        ("misses", 10_000, 20_000, False),
        ("misses", 10_000, 9_900, True),
        ("", 10, 10, False),
        ("", 10, 0, False),
    ],
)
def test_expected(expected, answered, asked, is_wrong):
    """Hits ask the nameserver next to nothing, misses at least once each; what is neither, anything."""
    try:
        load.check_expected("a", expected, answered, asked)
    except Wrong:
        assert is_wrong
    else:
        assert not is_wrong


def test_names(tmp_path):
    """A query file has so many distinct names, of a length that the floor's replies are made for."""
    lines = load.names(tmp_path / "names", "hot", 3).read_text().splitlines()
    assert lines == [f"hot000000{i}.perf.test. A" for i in range(3)]
    wire_octets = len("hot0000000.perf.test.") + 1
    assert 12 + wire_octets + 4 + 16 == servers.REPLY_OCTETS
