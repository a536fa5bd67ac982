import pytest

from shardns.metrics import histogram


@pytest.mark.parametrize(
    "bounds, wanted",
    [
        (
            histogram.TIME_S,
            "0.00025 0.0005 0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 +Inf",
        ),
        (histogram.SLIM_TIME_S, "0.00025 0.0025 0.025 0.25 2.5 +Inf"),
        (histogram.SIZE_BYTES, "0 100 200 300 400 511 1023 2047 4095 8291 16000 32000 48000 64000 +Inf"),
    ],
)
def test_bounds(bounds, wanted):
    """The label `le` reads as Go writes it: recording rules compare it as text."""
    assert " ".join(histogram.bounds_text(bounds)) == wanted


def test_cumulated():
    """A bucket of Prometheus counts all that is at most its bound."""
    assert histogram.cumulated(("1", "2", "+Inf"), [3, 0, 2]) == [("1", 3), ("2", 3), ("+Inf", 5)]


@pytest.mark.parametrize("seconds, bucket", [(0, 0), (0.00025, 0), (0.0003, 1), (0.0025, 1), (2.5, 4), (2.6, 5)])
def test_observe(seconds, bucket):
    """A duration counts in the first bucket whose bound it does not exceed."""
    counted = histogram.Histogram()
    counted.observe(seconds)
    assert [n for n, count in enumerate(counted.counts) if count] == [bucket]
    assert counted.sum_s == seconds
