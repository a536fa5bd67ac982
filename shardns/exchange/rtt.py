"""How long an upstream usually takes, and so how long silence is normal. Pure."""

from __future__ import annotations

HEDGE_MIN_S = 0.15
"""Silence shorter than this is never held against a connection: a name that kube-dns forwards takes as long."""
HEDGE_MAX_S = 1.0
UDP_RETRY_MIN_S = 0.4
UDP_RETRY_MAX_S = 1.0


class Rtt:
    """A running mean and mean deviation of answer times (RFC 6298 s.2, with the gains it gives)."""

    __slots__ = ("deviation_s", "hedge_s", "mean_s", "udp_retry_s")

    def __init__(self) -> None:
        """Assume a fast upstream until one answer has come: the first failure should not be the slowest."""
        self.mean_s = 0.0
        self.deviation_s = 0.0
        self.hedge_s = HEDGE_MIN_S
        """Seconds after which a connection that answered nothing since the query went out is suspect."""
        self.udp_retry_s = 2 * UDP_RETRY_MIN_S
        """Seconds after which a query by UDP is taken for lost."""

    def observe(self, seconds: float) -> None:
        """Learn from one answer; a sample of them is enough."""
        if self.mean_s:
            off = seconds - self.mean_s
            self.mean_s += 0.125 * off
            self.deviation_s += 0.25 * (abs(off) - self.deviation_s)
        else:
            self.mean_s = seconds
            self.deviation_s = seconds / 2
        usual = self.mean_s + 4 * self.deviation_s
        self.hedge_s = min(max(usual, HEDGE_MIN_S), HEDGE_MAX_S)
        self.udp_retry_s = min(max(2 * usual, UDP_RETRY_MIN_S), UDP_RETRY_MAX_S)
