"""To which upstream a query goes: first, when that one cannot be reached, and when no answer comes.

It goes to the first upstream in the policy's order that is not down and takes it; those that are down come last. With
all of them down the checks are taken to be broken, and a random one is tried (CoreDNS 1.13.2
plugin/forward/forward.go).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from shardns.exchange.ask import MAX_SENDINGS, Ask, Trouble
from shardns.exchange.config import PoolConfig
from shardns.exchange.outcome import NO_HEALTHY, Failure
from shardns.exchange.peer import Peer
from shardns.exchange.policy import Policy
from shardns.exchange.stats import PoolStats
from shardns.exchange.tcp import TcpLink


class Routing:
    """Chooses among the upstreams of one pool. All times are CLOCK_MONOTONIC in seconds."""

    def __init__(
        self, config: PoolConfig, peers: Sequence[Peer], stats: PoolStats, dice: Random, stirred: Callable[[], None]
    ) -> None:
        """stirred is called when something was sent or begun."""
        self._peers = peers
        self._stats = stats
        self._dice = dice
        self._stirred = stirred
        self._policy = Policy(config.policy, len(peers), dice)
        self._attempts = config.max_connect_attempts
        self._failfast = config.failfast

    def send(self, ask: Ask, now: float, avoid: Peer | None = None) -> bool:
        """Send the ask to the first upstream in the policy's order that takes it; False when none does.

        Those that failed for this ask already are left out, and so is avoid. The reason for a False is in the ask's
        trouble.
        """
        trouble = ask.trouble
        failed = trouble.failed if trouble is not None else 0
        spared = down = 0
        attempts = self._attempts
        for index in self._policy.order():
            peer = self._peers[index]
            if peer.health.down:
                down += 1
            if failed >> index & 1 or peer is avoid:
                continue
            if peer.health.down:
                spared |= 1 << index
            elif attempts and failed.bit_count() >= attempts:
                return False
            elif self.send_to(peer, ask, now):
                return True
            else:
                failed = ask.troubled().failed
        if avoid is not None:
            return False
        if down == len(self._peers):
            return self._send_broken(ask, now, spared)
        if attempts and failed.bit_count() >= attempts:
            return False
        return any(self.send_to(peer, ask, now) for peer in self._peers if spared >> peer.index & 1)

    def _send_broken(self, ask: Ask, now: float, spared: int) -> bool:
        """Every upstream is down: take it that the checks are broken and try a random one, or fail."""
        self._stats.healthcheck_broken += 1
        if self._failfast:
            trouble = ask.troubled()
            trouble.failure, trouble.detail, trouble.label = Failure.ALL_DOWN, NO_HEALTHY, ""
            return False
        left = [peer for peer in self._peers if spared >> peer.index & 1]
        return bool(left) and self.send_to(self._dice.choice(left), ask, now)

    def send_to(self, peer: Peer, ask: Ask, now: float, avoid: TcpLink | None = None) -> bool:
        """Send the ask to this upstream, or note why not."""
        if peer.submit(ask, now, avoid=avoid):
            self._stirred()
            return True
        trouble = ask.troubled()
        trouble.failed |= 1 << peer.index
        trouble.failure, trouble.detail, trouble.label = Failure.REFUSED_CONNECT, peer.tcp.refusal_text(), peer.label
        return False

    def send_again(self, ask: Ask, trouble: Trouble, peer: Peer, place: object, now: float, *, other: bool) -> bool:
        """Send the ask once more while it waits elsewhere; False when its limit is reached or nobody takes it.

        other: rather to another upstream than to the same one, whose place it should not meet again.
        """
        attempts = self._attempts
        if trouble.sendings >= (min(attempts, MAX_SENDINGS) if attempts else MAX_SENDINGS):
            return False
        avoid = place if isinstance(place, TcpLink) else None
        before = (trouble.failed, trouble.failure, trouble.detail, trouble.label)
        stay = not other and avoid is not None and ask.by_tcp and peer.tcp.has_other(avoid, ask.sent)
        if not (
            (stay and self.send_to(peer, ask, now, avoid))
            or (len(self._peers) > 1 and self.send(ask, now, peer))
            or self.send_to(peer, ask, now, avoid)
        ):
            # It still waits where it was: this is no reason to call that place failed.
            trouble.failed, trouble.failure, trouble.detail, trouble.label = before
            return False
        trouble.places += 1
        trouble.sendings += 1
        return True
