"""The upstream process: flights, upstreams, the table's only writer, metrics and health."""

from shardns.upstream.main import main

__all__ = ["main"]
