import pytest

from shardns.exchange.rtt import HEDGE_MAX_S, HEDGE_MIN_S, UDP_RETRY_MAX_S, UDP_RETRY_MIN_S, Rtt


@pytest.mark.parametrize(
    "rtt_s, hedge_s, udp_retry_s",
    [
        (0.001, HEDGE_MIN_S, UDP_RETRY_MIN_S),
        (0.02, HEDGE_MIN_S, UDP_RETRY_MIN_S),
        (0.4, 0.4, 0.8),
        (3.0, HEDGE_MAX_S, UDP_RETRY_MAX_S),
    ],
)
def test_patience_follows_the_usual_time(rtt_s, hedge_s, udp_retry_s):
    """With steady answers patience is their time, held between its limits."""
    rtt = Rtt()
    for _ in range(100):
        rtt.observe(rtt_s)
    assert rtt.hedge_s == pytest.approx(hedge_s, rel=0.01)
    assert rtt.udp_retry_s == pytest.approx(udp_retry_s, rel=0.01)


def test_an_unknown_upstream_is_taken_for_a_fast_one():
    """Before the first answer the shortest patience holds for connections."""
    assert Rtt().hedge_s == HEDGE_MIN_S


def test_one_slow_name_among_fast_ones_changes_little():
    """A slow answer now and then (a name that kube-dns forwards) leaves the patience short."""
    rtt = Rtt()
    for n in range(200):
        rtt.observe(0.2 if n % 20 == 19 else 0.001)
    for _ in range(10):
        rtt.observe(0.001)
    assert rtt.hedge_s < 0.2
