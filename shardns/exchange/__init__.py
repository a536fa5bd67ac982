"""Asking another nameserver: the only network client code of the data plane.

tcp_mux, udp, reply, health, habits, growth, lifetime, rtt and policy are pure: bytes and `now` in, facts out. tcp and
udp_socket put sockets around them, connections and datagrams decide about those of one upstream, routing about which
upstream is asked, pool about one query's way. turn puts off to the end of a turn of the loop what is done once for all.
"""

from shardns.exchange.config import PoolConfig, Upstream
from shardns.exchange.outcome import Failure, Outcome
from shardns.exchange.pool import Pool
from shardns.exchange.stats import PoolStats, UpstreamStats
from shardns.exchange.turn import Turn

__all__ = ["Failure", "Outcome", "Pool", "PoolConfig", "PoolStats", "Turn", "Upstream", "UpstreamStats"]
