"""What a running shardns says about itself to whoever wants to check it (`shardns doctor`): plain data, for msgpack.

What a Plan serves and whom it asks is also told of a Plan that nobody serves.
"""

from __future__ import annotations

from time import monotonic_ns

from shardns.metrics import Reader
from shardns.plan import Plan
from shardns.plugins import forward
from shardns.upstream.operator_client import Item


def served(plan: Plan) -> Item:
    """Listen addresses, blocks with their zones and nameservers, and the addresses of HTTP by plugin.

    listeners and targets are [host, port]; a host of "" stands for all addresses.
    """
    return {
        "listeners": [[listener.host, listener.port] for listener in plan.listeners],
        "blocks": [
            {
                "zones": list(block.zones),
                "listeners": [[plan.listener(index).host, plan.listener(index).port] for index in block.listeners],
                "forwards": [_forward(stanza) for stanza in _stanzas(block.plugins.get(forward.NAME))],
            }
            for block in plan.blocks
        ],
        "http": {
            "metrics": [str(address) for address in plan.prometheus],
            "health": [str(address) for address in plan.health],
            "ready": [str(address) for address in plan.ready],
        },
    }


def beats(reader: Reader, workers: int) -> Item:
    """For every worker and the upstream process the seconds since its beats (None: none yet), and a worker's counts."""
    now_ns = monotonic_ns()
    return {
        "workers": [_worker(reader, number, now_ns) for number in range(workers)],
        "upstream_silent_s": _since_s(reader.upstream()["heartbeat_loop_ns"], now_ns),
    }


def _worker(reader: Reader, number: int, now_ns: int) -> Item:
    """One worker."""
    counts = reader.worker(number)
    return {
        "serve_silent_s": _since_s(counts["heartbeat_ns"], now_ns),
        "loop_silent_s": _since_s(counts["heartbeat_loop_ns"], now_ns),
        "packets_received": counts["packets_received"],
        "tcp_connections": counts["tcp_connections"],
    }


def _since_s(beat_ns: int, now_ns: int) -> float | None:
    """Seconds since a beat."""
    return round(max(0, now_ns - beat_ns) / 1e9, 3) if beat_ns else None


def _stanzas(config: object) -> tuple[forward.Stanza, ...]:
    """Of a block's `forward`; none where it has none."""
    return config.stanzas if isinstance(config, forward.Config) else ()


def _forward(stanza: forward.Stanza) -> Item:
    """One directive."""
    return {
        "targets": [[target.host, target.port] for target in stanza.targets],
        "force_tcp": stanza.force_tcp,
        "prefer_udp": stanza.prefer_udp,
    }
