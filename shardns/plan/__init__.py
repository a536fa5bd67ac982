"""The resolved configuration: server blocks in, an immutable Plan out. Pure."""

from shardns.plan.describe import describe
from shardns.plan.model import DROPPED, Block, Listener, Plan, Reload, Row
from shardns.plan.registry import MAX_LISTENERS, MAX_ROWS, Registry
from shardns.plan.resolve import Options, cache_id, resolve

__all__ = [
    "DROPPED",
    "MAX_LISTENERS",
    "MAX_ROWS",
    "Block",
    "Listener",
    "Options",
    "Plan",
    "Registry",
    "Reload",
    "Row",
    "cache_id",
    "describe",
    "resolve",
]
