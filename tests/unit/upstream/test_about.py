"""What a running shardns says about itself."""

import time

from shardns.metrics import Page
from shardns.upstream import about
from tests.unit.metrics.segments import world
from tests.unit.plan.plans import make

TEXT = """
cluster.local in-addr.arpa {
    bind 127.0.0.1 ::1
    forward . 192.0.2.1 [2001:db8::1]:54 {
        force_tcp
    }
    health 127.0.0.1:8080
    ready :8181
}
. {
    bind 127.0.0.1
    forward example.org 192.0.2.3 {
        prefer_udp
    }
    forward . 192.0.2.2
    prometheus :9253
}
example.com {
    bind 127.0.0.1
    cache
}
"""


def test_served():
    """Addresses, zones, the nameservers of every directive and how they are asked; a block may have none."""
    got = about.served(make(TEXT))
    assert got["listeners"] == [["127.0.0.1", 53], ["::1", 53]]
    cluster, root, other = got["blocks"]
    assert cluster == {
        "zones": ["cluster.local.", "in-addr.arpa."],
        "listeners": [["127.0.0.1", 53], ["::1", 53]],
        "forwards": [
            {"targets": [["192.0.2.1", 53], ["2001:db8::1", 54]], "force_tcp": True, "prefer_udp": False},
        ],
    }
    assert [(one["targets"], one["force_tcp"], one["prefer_udp"]) for one in root["forwards"]] == [
        ([["192.0.2.3", 53]], False, True),
        ([["192.0.2.2", 53]], False, False),
    ]
    assert other["forwards"] == []
    assert got["http"] == {"metrics": [":9253"], "health": ["127.0.0.1:8080"], "ready": [":8181"]}


def test_beats():
    """A beat is told as seconds since, one that never was as none; a worker's counts come along."""
    with world() as made:
        slot = made.slots[0].at.process
        slot.heartbeat_ns = time.monotonic_ns() - 2_000_000_000
        slot.packets_received, slot.tcp_connections = 7, 3
        got = about.beats(Page(made.sources).reader, 2)
    first, second = got["workers"]
    assert 2.0 <= first["serve_silent_s"] < 12.0
    assert (first["loop_silent_s"], first["packets_received"], first["tcp_connections"]) == (None, 7, 3)
    assert (second["serve_silent_s"], second["packets_received"]) == (None, 0)
    assert got["upstream_silent_s"] is None
