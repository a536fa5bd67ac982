import pytest

from perf import compare


@pytest.mark.parametrize(
    "old, new, more_is_better, wanted",
    [
        (1.0, 1.04, False, ""),
        (1.0, 1.2, False, "WORSE"),
        (1.0, 0.8, False, "better"),
        (1.8, 1.5, True, "WORSE"),
        (1.5, 1.8, True, "better"),
    ],
)
def test_change(old, new, more_is_better, wanted):
    """A change of at least 5 % is better or worse, by what the figure is; less is noise."""
    line = compare.lines({"a": (old, "x", more_is_better)}, {"a": (new, "x", more_is_better)})[0]
    assert line.endswith(wanted or "%")


def test_only_in_one():
    """A figure that one result lacks is named."""
    lines = compare.lines({"old": (1.0, "x", False)}, {"new": (1.0, "x", False)})
    assert [line.split(" only in ")[1] for line in lines] == ["the first", "the second"]
