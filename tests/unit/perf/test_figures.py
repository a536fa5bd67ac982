import pytest

from perf.figures import Figure, ratios


@pytest.mark.parametrize(
    "value, is_floor, bound, wanted",
    [
        (1.0, False, 1.0, True),
        (1.1, False, 1.0, False),
        (1.9, True, 1.8, True),
        (1.7, True, 1.8, False),
        (9, False, None, True),
    ],
)
def test_bound(value, is_floor, bound, wanted):
    """A bound is the most a value may be, or the least; without one every value holds."""
    assert Figure("a", "a", value, is_floor=is_floor).holds(bound) is wanted


def test_ratio_is_taken_round_by_round():
    """A round in which the machine was slow for everybody does not change a ratio."""
    assert ratios({"a": [1, 30, 3], "b": [2, 60, 12]}, "a", "b") == [0.5, 0.5, 0.25]


@pytest.mark.parametrize("rounds, wanted", [([1.0, 1.1, 1.2], False), ([0.8, 1.0, 1.2], True), ([1.0], False)])
def test_noise(rounds, wanted):
    """Rounds that lie further apart than a quarter of their median were not taken on a quiet machine."""
    assert Figure.over("a", "a", rounds).is_noisy is wanted


def test_median_of_rounds():
    """A figure over rounds is their median, with the least and the most of them."""
    figure = Figure.over("a", "a", [3.0, 1.0, 2.0], 2.5, 1.5)
    assert (figure.value, figure.low, figure.high, figure.must, figure.aim, figure.quick) == (2, 1, 3, 2.5, 1.5, None)
