"""The Plan in the core: which block and row a query gets, and how its hits are answered."""

from __future__ import annotations

from typing import Any

import pytest

from shardns.core import ffi, lib
from shardns.corefile import parse
from shardns.dns import message, names
from shardns.plan import Options, Plan, Registry, resolve
from shardns.plan.compiled import compile_rules

FORWARD = "forward . 192.0.2.53"


def plan_of(text: str, registry: Registry | None = None) -> Plan:
    """The Plan of a Corefile."""

    def nothing(name: str) -> str:
        raise OSError(name)

    blocks = parse(text, file="Corefile", env={}, read=lambda _name: {})  # type: ignore[arg-type, return-value]
    return resolve(blocks, Options(read=nothing, interface=lambda _name: None), registry or Registry())


def rule_of(text: str) -> Any:
    """The struct shd_block_rule of a Corefile's only block, by value."""
    rules = compile_rules(plan_of(text))
    return ffi.new("struct shd_block_rule *", lib.shd_rules_block(rules.pointer, 0)[0])[0]


def matched(plan: Plan, name: str, listener: int = 0, qtype: int = 1) -> tuple[int, int]:
    """Block (or error) and row of a query."""
    rules = compile_rules(plan)
    wire = message.query(names.to_wire(name), qtype, id=1)
    query, row = ffi.new("struct shd_query *"), ffi.new("uint32_t *")
    assert lib.shd_query_parse(wire, len(wire), query) == 0
    return lib.shd_rules_match(rules.pointer, query, listener, row), row[0]


TWO = f"""
cluster.local 10.in-addr.arpa {{
    bind 192.0.2.1 192.0.2.2
    {FORWARD}
}}
.:54 {{
    {FORWARD}
}}
. {{
    bind 192.0.2.1
    {FORWARD}
}}
"""


@pytest.mark.parametrize(
    ("host", "port", "name", "block", "zone"),
    [
        ("192.0.2.1", 53, "a.cluster.local.", 0, "cluster.local."),
        ("192.0.2.1", 53, "A.Cluster.LOCAL.", 0, "cluster.local."),
        ("192.0.2.2", 53, "1.10.in-addr.arpa.", 0, "10.in-addr.arpa."),
        ("192.0.2.1", 53, "example.org.", 2, "."),
        ("192.0.2.2", 53, "example.org.", None, "dropped"),
        ("", 54, "a.cluster.local.", 1, "."),
    ],
)
def test_match(host: str, port: int, name: str, block: int | None, zone: str) -> None:
    """The block and the row are those of the longest zone on that listener; else the listener's dropped row."""
    plan = plan_of(TWO)
    listener = next(each for each in plan.listeners if (each.host, each.port) == (host, port))
    row = next(each for each in plan.rows if (each.listener, each.zone) == (listener.index, zone))
    wanted = lib.SHD_EREFUSED if block is None else block
    assert matched(plan, name, listener.index) == (wanted, row.index)


def test_permanent_indices() -> None:
    """Listeners and rows keep their numbers when the Plan changes."""
    registry = Registry()
    first = plan_of(f"example.org {{\n{FORWARD}\n}}\nexample.com:54 {{\n{FORWARD}\n}}", registry)
    second = plan_of(f"example.com:54 {{\n{FORWARD}\n}}", registry)
    assert matched(second, "example.com.", 1) == (0, matched(first, "example.com.", 1)[1])


def test_no_cache() -> None:
    """Without `cache` every query is an ask."""
    rule = rule_of(f". {{\n{FORWARD}\n}}")
    assert (rule.has_cache, rule.log_classes, rule.stale_mode) == (0, 0, lib.SHD_STALE_NONE)


def test_cache_defaults() -> None:
    """CoreDNS's: 3600 and 1800 s, at least 5 s, failures 5 s; entries vary by DO and CD."""
    rule = rule_of(f". {{\ncache\n{FORWARD}\n}}")
    ttl = rule.ttl
    assert rule.has_cache
    assert rule.cache_id == plan_of(f". {{\ncache\n{FORWARD}\n}}").blocks[0].cache_id
    assert rule.facets == lib.SHD_FACET_DO | lib.SHD_FACET_CD
    assert (ttl.success_min_s, ttl.success_max_s, ttl.denial_min_s, ttl.denial_max_s) == (5, 3600, 5, 1800)
    assert (ttl.failure_s, ttl.store_success, ttl.store_denial) == (5, 1, 1)
    assert (rule.prefetch_hits, rule.stale_mode, rule.keep_ttl) == (0, lib.SHD_STALE_NONE, 0)


@pytest.mark.parametrize(
    ("option", "field", "wanted"),
    [
        ("success 2000 60 10", "ttl.success_max_s", 60),
        ("success 2000 60 10", "ttl.success_min_s", 10),
        ("denial 2000 30 0", "ttl.denial_max_s", 30),
        ("denial 2000 30 0", "ttl.denial_min_s", 1),
        ("servfail 0", "ttl.failure_s", 0),
        ("servfail 500ms", "ttl.failure_s", 1),
        ("serve_stale", "stale_s", 3600),
        ("serve_stale", "stale_mode", lib.SHD_STALE_IMMEDIATE),
        ("serve_stale 10s verify", "stale_mode", lib.SHD_STALE_VERIFY),
        ("serve_stale 1500ms", "stale_s", 2),
        ("serve_stale 0s", "stale_mode", lib.SHD_STALE_NONE),
        ("prefetch 5 2m 25%", "prefetch_hits", 5),
        ("prefetch 5 2m 25%", "prefetch_gap_s", 120),
        ("prefetch 5 2m 25%", "prefetch_percent", 25),
        ("keepttl", "keep_ttl", 1),
        ("disable success", "ttl.store_success", 0),
        ("disable denial", "ttl.store_denial", 0),
        ("disable denial example.org", "ttl.store_denial", 1),
    ],
)
def test_cache_options(option: str, field: str, wanted: int) -> None:
    """Each option is a field; durations are rounded up to seconds."""
    found = rule_of(f". {{\ncache {{\n{option}\n}}\n{FORWARD}\n}}")
    for part in field.split("."):
        found = getattr(found, part)
    assert found == wanted


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("log", lib.SHD_LOG_SUCCESS | lib.SHD_LOG_DENIAL | lib.SHD_LOG_ERROR),
        ("log {\nclass error\n}", lib.SHD_LOG_ERROR),
        (
            "log example.org {\nclass denial\n}\nlog example.com {\nclass success\n}",
            lib.SHD_LOG_SUCCESS | lib.SHD_LOG_DENIAL,
        ),
    ],
)
def test_log(lines: str, wanted: int) -> None:
    """The core makes a record for every class that some name is logged with."""
    assert rule_of(f". {{\n{lines}\n{FORWARD}\n}}").log_classes == wanted


@pytest.mark.parametrize(("option", "wanted"), [("", 1), ("force_tcp", 0), ("prefer_udp", 0)])
def test_transport(option: str, wanted: int) -> None:
    """Where forward asks as the client did, UDP and TCP clients cannot share an upstream query."""
    assert rule_of(f". {{\n{FORWARD} {{\n{option}\n}}\n}}").transport_matters == wanted
