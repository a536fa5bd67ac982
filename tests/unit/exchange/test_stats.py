import pytest

from shardns.exchange.stats import BUCKETS_S, Histogram, PoolStats


def test_buckets_are_those_of_coredns():
    """0.25 ms doubling sixteen times, to 8.192 s."""
    assert BUCKETS_S[0] == 0.00025
    assert BUCKETS_S[-1] == 8.192
    assert len(BUCKETS_S) == 16


@pytest.mark.parametrize("seconds, bucket", [(0.0, 0), (0.00025, 0), (0.0003, 1), (8.192, 15), (9.0, 16)])
def test_histogram_bounds_are_inclusive(seconds, bucket):
    """A value equal to a bound belongs below it, as Prometheus's `le` says."""
    histogram = Histogram()
    histogram.observe(seconds)
    assert histogram.counts[bucket] == 1
    assert histogram.sum_s == seconds


def test_pools_with_the_same_upstream_share_its_counts():
    """CoreDNS's families know the upstream, not the `forward`."""
    stats = PoolStats()
    assert stats.of("10.0.0.1:53") is stats.of("10.0.0.1:53")
    assert stats.of("10.0.0.1:53") is not stats.of("10.0.0.2:53")
