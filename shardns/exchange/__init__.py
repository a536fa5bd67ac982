"""Asking another nameserver: the only network client code of the data plane.

tcp_mux, udp, reply, health, lifetime, rtt and policy are pure: bytes and `now` in, facts out. tcp and udp_socket put
sockets around them, peer decides about one upstream's connections, pool about one query's way.
"""

from shardns.exchange.config import PoolConfig, Upstream
from shardns.exchange.outcome import Failure, Outcome
from shardns.exchange.pool import Pool
from shardns.exchange.stats import PoolStats, UpstreamStats

__all__ = ["Failure", "Outcome", "Pool", "PoolConfig", "PoolStats", "Upstream", "UpstreamStats"]
