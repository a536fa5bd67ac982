"""cache: every option, its default and its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardns.plugins.cache import Config, Store
from tests.unit.plugins.setups import Setup, config, errors

DEFAULT = Config()


def test_defaults():
    """Without options: 9984 entries a half, an hour and half of it, no TTL below 5, SERVFAIL for 5 s, the rest off."""
    assert config("cache") == Config(
        zones=(".",),
        success=Store(9984, 3600, 5, ()),
        denial=Store(9984, 1800, 5, ()),
        servfail_s=5,
        prefetch=0,
        prefetch_gap_s=60,
        prefetch_percent=10,
        stale_s=0,
        stale_verify=False,
        stale_timeout_s=0,
        keep_ttl=False,
    )


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("cache 30", {"success": Store(ttl_s=30), "denial": Store(ttl_s=30)}),
        (
            "cache 30 example.org 10.0.0.0/8",
            {"success": Store(ttl_s=30), "denial": Store(ttl_s=30), "zones": ("example.org.", "10.in-addr.arpa.")},
        ),
        ("cache Example.org", {"zones": ("example.org.",)}),
        ("cache {\n success 5000\n}", {"success": Store(5000)}),
        (
            "cache 60 {\n success 5000 30 0\n denial 6000 5\n}",
            {"success": Store(5000, 30, 0), "denial": Store(6000, 5, 5)},
        ),
        ("cache {\n servfail 0\n}", {"servfail_s": 0}),
        ("cache {\n servfail 5m\n}", {"servfail_s": 300}),
        ("cache {\n prefetch 5\n}", {"prefetch": 5}),
        ("cache {\n prefetch 5 10m\n}", {"prefetch": 5, "prefetch_gap_s": 600}),
        ("cache {\n prefetch 5 10m 90%\n}", {"prefetch": 5, "prefetch_gap_s": 600, "prefetch_percent": 90}),
        ("cache {\n serve_stale\n}", {"stale_s": 3600}),
        ("cache {\n serve_stale 30m\n}", {"stale_s": 1800}),
        ("cache {\n serve_stale 30m IMMEDIATE\n}", {"stale_s": 1800}),
        ("cache {\n serve_stale 30m verify\n}", {"stale_s": 1800, "stale_verify": True}),
        ("cache {\n serve_stale 30m verify 100ms\n}", {"stale_s": 1800, "stale_verify": True, "stale_timeout_s": 0.1}),
        ("cache {\n serve_stale verify\n}", {"stale_s": 3600, "stale_verify": True}),
        ("cache {\n disable success\n}", {"success": Store(disabled=(".",))}),
        (
            "cache {\n disable denial a.example.org b.example.org\n disable denial c.example.org\n}",
            {"denial": Store(ttl_s=1800, disabled=("a.example.org.", "b.example.org.", "c.example.org."))},
        ),
        ("cache {\n keepttl\n}", {"keep_ttl": True}),
    ],
)
def test_options(text, wanted):
    """Each option changes its own values only."""
    assert config(text) == replace(DEFAULT, **wanted)


def test_zones_of_the_block():
    """Without zones of its own the cache is for those of the block."""
    made = config("cache", zones=("example.org.", "example.net."))
    assert made.zones == ("example.org.", "example.net.")
    assert made.label == "example.org.,example.net."


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("cache 0", '1:7: cache: TTL must be at least 1: got "0"'),
        ("cache -1", '1:7: cache: TTL must be at least 1: got "-1"'),
        ("cache 2147483648", '1:7: cache: TTL must be at most 2147483647: got "2147483648"'),
        ("cache 30 a..b", '1:10: cache: not a zone: name has an empty label: got "a..b"'),
        ("cache\ncache", "2:1: cache: can be used only once per server block"),
        ("cache {\n succes 1\n}", '2:2: cache: unknown option: got "succes"'),
        ("cache {\n success\n}", "2:2: cache: success needs 1 argument, has 0"),
        ("cache {\n success x\n}", "2:10: cache: success capacity: 'x' is not a whole number"),
        ("cache {\n success -1\n}", '2:10: cache: success capacity must not be negative: got "-1"'),
        ("cache {\n success 2000 0\n}", '2:15: cache: success TTL must be at least 1: got "0"'),
        ("cache {\n denial 2000 5 -1\n}", '2:16: cache: denial MINTTL must not be negative: got "-1"'),
        ("cache {\n denial 2000 5 1 1\n}", '2:18: cache: denial takes 3 arguments: got "1"'),
        ("cache {\n servfail\n}", "2:2: cache: servfail needs 1 argument, has 0"),
        ("cache {\n servfail -1s\n}", '2:11: cache: servfail must not be negative: got "-1s"'),
        ("cache {\n servfail 5m1s\n}", '2:11: cache: servfail must be at most 5m: got "5m1s"'),
        ("cache {\n prefetch\n}", "2:2: cache: prefetch needs 1 argument, has 0"),
        ("cache {\n prefetch -1\n}", '2:11: cache: prefetch amount must not be negative: got "-1"'),
        ("cache {\n prefetch 1 0\n}", '2:13: cache: prefetch duration must be at least 1ms: got "0"'),
        ("cache {\n prefetch 1 1m 10\n}", '2:16: cache: prefetch percentage must end in %: got "10"'),
        ("cache {\n prefetch 1 1m 9%\n}", '2:16: cache: prefetch percentage must be at least 10: got "9"'),
        ("cache {\n prefetch 1 1m 91%\n}", '2:16: cache: prefetch percentage must be at most 90: got "91"'),
        ('cache {\n prefetch 1 1m ""\n}', '2:16: cache: prefetch percentage must end in %: got ""'),
        ("cache {\n serve_stale -1s\n}", '2:14: cache: serve_stale must not be negative: got "-1s"'),
        ("cache {\n serve_stale 1h sometimes\n}", '2:17: cache: unknown mode of serve_stale: got "sometimes"'),
        ("cache {\n serve_stale 1h immediate 1s\n}", '2:27: cache: serve_stale takes no more than this: got "1s"'),
        ("cache {\n serve_stale_policy prefer_positive\n}", "2:2: cache: serve_stale_policy is not in this version"),
        ("cache {\n disable\n}", "2:2: cache: disable needs 1 argument, has 0"),
        ("cache {\n disable all\n}", '2:10: cache: disable needs success or denial: got "all"'),
        ("cache {\n keepttl 1\n}", '2:10: cache: keepttl takes no argument: got "1"'),
        ("cache {\n keepttl {\n x\n }\n}", "3:2: cache: keepttl takes no braces"),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]


def test_all_errors():
    """One fault does not hide the next."""
    assert len(errors("cache {\n success x\n servfail x\n what\n}")) == 3


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("cache {\n success 10\n}", 'cache: success capacity is too small: got "10"'),
        ("cache {\n success 2000 30 60\n}", "cache: success MINTTL is above the TTL"),
        ("cache {\n serve_stale 0s\n}", "cache: serve_stale 0 is off"),
        ("cache {\n servfail 1s\n servfail 2s\n}", "cache: servfail is given again"),
    ],
)
def test_warnings(text, wanted):
    """What hardly can be meant is told, and works."""
    assert Setup(text).warned == [wanted]


def test_least_capacity():
    """A capacity below 1024 is 1024, as CoreDNS's 256 shards make it."""
    assert Setup("cache {\n success 10\n}").config.success.capacity == 1024
