"""The Plan in words."""

from __future__ import annotations

import dataclasses

from shardns import plan
from tests.unit.plan.plans import make

TEXT = """
a.example b.example:54 {
    bind 127.0.0.1 ::1
    cache 30 {
        serve_stale
        disable denial c.example
    }
    errors {
        consolidate 1m "x y" info
    }
    log
    health :8080 {
        lameduck 5s
    }
    forward . 192.0.2.1 192.0.2.2:54
}
"""


def test_describe():
    """Zones, addresses and every value, defaults included, are there to read."""
    text = plan.describe(make(TEXT))
    for wanted in (
        "server block 1: a.example. b.example.\n",
        "  listens on dns://127.0.0.1:53 for a.example.\n",
        "  listens on dns://[::1]:54 for b.example.\n",
        "  entries vary by question, DO, CD; cache id ",
        "    addresses  127.0.0.1 ::1\n",
        "    success.ttl       30s\n",
        "    success.disabled  -\n",
        "    denial.disabled   c.example.\n",
        "    prefetch          0\n",
        "    stale             1h0m0s\n",
        "    keep_ttl          no\n",
        "    consolidate[1].period      1m0s\n",
        "    rules[1].classes  all\n",
        "    stanzas[1].targets               192.0.2.1:53 192.0.2.2:54\n",
        "    stanzas[1].health_check          500ms\n",
        "  health      :8080\n",
        "  ready       -\n",
        "  lameduck    5s\n",
        "  reload      no (only on SIGUSR1)\n",
        "  SHA512      ",
    ):
        assert wanted in text


def test_no_value_is_left_out():
    """Every field of every Config has its line."""
    made = make(TEXT)
    text = plan.describe(made)
    for config in made.blocks[0].plugins.values():
        assert dataclasses.is_dataclass(config)
        for field in dataclasses.fields(config):
            assert field.name.removesuffix("_s") in text


def test_reload():
    """The times of reload are told."""
    assert "every 30s, spread over 15s" in plan.describe(make(".\nreload\nforward . 192.0.2.1"))
