import asyncio
import re
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shardns.exchange.stats import PoolStats
from shardns.metrics import CacheCounts, CacheView, Control, LocalCounts, Page, PluginView, TableUse
from tests.unit.metrics.segments import FlightCounts, RowView, count, world

V4 = "dns://127.0.0.1:1053"
V6 = "dns://[::1]:1053"
ROWS = (
    RowView(0, V4, "cluster.local."),
    RowView(1, V6, "cluster.local."),
    RowView(2, V4, "."),
    RowView(3, V4, "dropped"),
)
CLUSTER = CacheView(
    "cluster.local.,in-addr.arpa.",
    {V4: (0,), V6: (1,)},
    lambda: CacheCounts(success=7, denial=3, success_evictions=2, denial_evictions=0),
)
UNUSED = CacheView(".", {V4: (2,)}, CacheCounts)


def pools():
    """Counts of one nameserver that was asked by TCP and answered twice."""
    stats = PoolStats(healthcheck_broken=1, max_concurrent_rejects=2)
    of = stats.of("192.0.2.53:53")
    of.tcp_queries, of.tcp_waited, of.healthcheck_failures, of.open_connections = 5, 2, 4, 1
    of.observe(0, 0.0004)
    of.observe(3, 100.0)
    return stats


def scrape(sources):
    """The page as a mapping of (name, sorted labels) to value, read by Prometheus's own parser, and its text."""
    text = asyncio.run(Page(sources).render()).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found, text


def series(found, name):
    """The series of a name: "label=value,..." to value."""
    return {",".join(f"{k}={v}" for k, v in labels): value for (n, labels), value in found.items() if n == name}


@pytest.fixture(name="used")
def used_fixture():
    """A program after some queries."""
    more = {
        "caches": (CLUSTER, UNUSED),
        "pools": pools(),
        "flights": FlightCounts(started=9, joined=4, failed=1, open=2),
        "table": lambda: TableUse(1 << 26, 4096, 10, 2, 500, ((128, 8), (256, 2), (0, 0))),
        "plugins": (
            PluginView(V4, "cluster.local.", "cache"),
            PluginView(V4, ".", "forward"),
            PluginView(V4, ".", "bind"),
        ),
        "control": lambda: Control(
            reloads=1, reloads_failed=3, worker_restarts=2, setup_errors={"configmap": 5}, config_sha512="ab" * 64
        ),
    }
    local = LocalCounts(hosts_entries={"/etc/hosts": 4}, hosts_changed_s=1.5)
    local.template_matches[V4, "example.org.", "IN", "A"] = 2
    local.template_failures[V4, "example.org.", "IN", "A", "answer", "{{ index .Match 1 }}"] = 3
    local.template_rr_failures[V4, "example.org.", "IN", "A", "additional", "{{ .Name }}"] = 4
    with world(ROWS, local=local, **more) as w:
        count(w.row(0, 0, 0), duration_ns=400_000, response=511, do=True)
        count(w.row(1, 1, 1), 28, proto=1, family=1, rcode=3, duration_ns=9_000_000_000, response=65_000)
        count(w.row(2, 0, 3), rcode=5, plugin=0)
        w.row(0, 0, 0).cache_requests = 3
        w.row(0, 0, 0).cache_hits[0] = 2
        w.upstream.at.rows[0].cache_misses = 1
        w.row(0, 0, 1).cache_requests = 1
        w.row(0, 0, 1).cache_hits[1] = 1
        w.slots[0].at.process.packets_received = 11
        w.slots[1].at.process.replies_sent = 12
        w.upstream.at.process.replies_sent = 13
        w.upstream.at.process.heartbeat_loop_ns = 1
        yield w


def test_dns_counters(used):
    """coredns_dns_* have CoreDNS's labels and values, and only series that were counted."""
    found, _ = scrape(used.sources)
    assert series(found, "coredns_dns_requests_total") == {
        f"family=1,proto=udp,server={V4},type=A,view=,zone=cluster.local.": 1,
        f"family=2,proto=tcp,server={V6},type=AAAA,view=,zone=cluster.local.": 1,
        f"family=1,proto=udp,server={V4},type=A,view=,zone=dropped": 1,
    }
    assert series(found, "coredns_dns_responses_total") == {
        f"plugin=cache,rcode=NOERROR,server={V4},view=,zone=cluster.local.": 1,
        f"plugin=cache,rcode=NXDOMAIN,server={V6},view=,zone=cluster.local.": 1,
        f"plugin=,rcode=REFUSED,server={V4},view=,zone=dropped": 1,
    }
    assert series(found, "coredns_dns_do_requests_total") == {f"server={V4},view=,zone=cluster.local.": 1}


def test_dns_histograms(used):
    """Buckets are cumulative, with CoreDNS's bounds; sum and count go with them."""
    found, _ = scrape(used.sources)
    labels = f"server={V4},view=,zone=cluster.local."
    buckets = {
        key.split(",")[0]: value
        for key, value in series(found, "coredns_dns_request_duration_seconds_bucket").items()
        if key.endswith(labels)
    }
    assert (len(buckets), buckets["le=0.00025"], buckets["le=0.0005"], buckets["le=+Inf"]) == (17, 0, 1, 1)
    assert series(found, "coredns_dns_request_duration_seconds_sum")[labels] == 0.0004
    assert series(found, "coredns_dns_request_duration_seconds_count")[labels] == 1
    sizes = series(found, "coredns_dns_response_size_bytes_bucket")
    assert sizes[f"le=511,proto=udp,{labels}"] == 1
    assert sizes[f"le=400,proto=udp,{labels}"] == 0
    assert sizes[f"le=64000,proto=tcp,server={V6},view=,zone=cluster.local."] == 0
    assert sizes[f"le=+Inf,proto=tcp,server={V6},view=,zone=cluster.local."] == 1
    assert series(found, "coredns_dns_request_size_bytes_sum")[f"proto=udp,{labels}"] == 40


def test_cache(used):
    """coredns_cache_* are per server and zones; an unused cache shows nothing, evictions are counted once."""
    found, _ = scrape(used.sources)
    zones = "view=,zones=cluster.local.,in-addr.arpa."
    assert series(found, "coredns_cache_requests_total") == {f"server={V4},{zones}": 3, f"server={V6},{zones}": 1}
    assert series(found, "coredns_cache_hits_total") == {
        f"server={V4},type=success,{zones}": 2,
        f"server={V6},type=denial,{zones}": 1,
    }
    assert series(found, "coredns_cache_misses_total") == {f"server={V4},{zones}": 1}
    assert series(found, "coredns_cache_entries") == {
        f"server={server},type={kind},{zones}": n for server in (V4, V6) for kind, n in (("success", 7), ("denial", 3))
    }
    assert series(found, "coredns_cache_evictions_total") == {f"server={V4},type=success,{zones}": 2}
    assert series(found, "coredns_cache_prefetch_total") == {}


@pytest.mark.parametrize("old", [False, True])
def test_upstreams(used, old):
    """coredns_proxy_* speak of every nameserver, and the old coredns_forward_* names say the same."""
    found, _ = scrape(used.sources)
    to = "" if old else "proxy_name=forward,"
    family = "forward" if old else "proxy"
    durations = series(found, f"coredns_{family}_request_duration_seconds_bucket")
    assert durations[f"le=0.0005,{to}rcode=NOERROR,to=192.0.2.53:53"] == 1
    assert durations[f"le=8.192,{to}rcode=NXDOMAIN,to=192.0.2.53:53"] == 0
    assert durations[f"le=+Inf,{to}rcode=NXDOMAIN,to=192.0.2.53:53"] == 1
    assert series(found, f"coredns_{family}_healthcheck_failures_total") == {f"{to}to=192.0.2.53:53": 4}
    if old:
        assert series(found, "coredns_forward_requests_total") == {"to=192.0.2.53:53": 5}
        assert series(found, "coredns_forward_responses_total")["rcode=NXDOMAIN,to=192.0.2.53:53"] == 1
    else:
        name = "proto=tcp,proxy_name=forward,to=192.0.2.53:53"
        assert series(found, "coredns_proxy_conn_cache_hits_total") == {name: 3}
        assert series(found, "coredns_proxy_conn_cache_misses_total") == {name: 2}
    assert series(found, "coredns_forward_healthcheck_broken_total") == {"": 1}
    assert series(found, "coredns_forward_max_concurrent_rejects_total") == {"": 2}


def test_server(used):
    """Plugins that queries pass through, reloads, and node-cache's setup errors, all five types from the start."""
    found, _ = scrape(used.sources)
    assert series(found, "coredns_plugin_enabled") == {
        f"name=cache,server={V4},view=,zone=cluster.local.": 1,
        f"name=forward,server={V4},view=,zone=.": 1,
    }
    assert series(found, "coredns_reload_failed_total") == {"": 3}
    assert series(found, "coredns_reload_version_info") == {f"hash=sha512,value={'ab' * 64}": 1}
    assert series(found, "coredns_nodecache_setup_errors_total") == {
        "errortype=iptables": 0,
        "errortype=iptables_lock": 0,
        "errortype=interface_add": 0,
        "errortype=interface_check": 0,
        "errortype=configmap": 5,
    }
    (info,) = series(found, "coredns_build_info")
    assert re.fullmatch(r"goversion=python3\.\S+,revision=,version=shardns-1\.2\.3", info)


def test_local(used):
    """What hosts and template count."""
    found, _ = scrape(used.sources)
    place = f"server={V4},"
    assert series(found, "coredns_hosts_entries") == {"hostsfile=/etc/hosts": 4}
    assert series(found, "coredns_hosts_reload_timestamp_seconds") == {"": 1.5}
    assert series(found, "coredns_template_matches_total") == {f"class=IN,{place}type=A,view=,zone=example.org.": 2}
    name = f"class=IN,section=answer,{place}template={{{{ index .Match 1 }}}},type=A,view=,zone=example.org."
    assert series(found, "coredns_template_template_failures_total") == {name: 3}
    name = f"class=IN,section=additional,{place}template={{{{ .Name }}}},type=A,view=,zone=example.org."
    assert series(found, "coredns_template_rr_failures_total") == {name: 4}


def test_own(used):
    """What only shardns has begins with shardns_."""
    found, text = scrape(used.sources)
    assert series(found, "shardns_worker_packets_received_total") == {"worker=0": 11, "worker=1": 0}
    assert series(found, "shardns_replies_sent_total") == {
        "role=worker,slot=0": 0,
        "role=worker,slot=1": 12,
        "role=upstream,slot=0": 13,
    }
    (age,) = series(found, "shardns_heartbeat_age_seconds").values()
    assert age > 0
    assert series(found, "shardns_flights_joined_total") == {"": 4}
    assert series(found, "shardns_table_class_entries") == {"cell_bytes=128": 8, "cell_bytes=256": 2}
    assert series(found, "shardns_upstream_connections") == {"to=192.0.2.53:53": 1}
    assert series(found, "shardns_child_restarts_total") == {"role=worker": 2, "role=upstream": 0}
    assert re.findall(r"^# TYPE (?!coredns_|shardns_|process_)\S+", text, re.MULTILINE) == []


def test_fresh():
    """Before the first query there are no series with labels of queries, and those without labels are 0."""
    with world(ROWS, caches=(UNUSED,)) as w:
        found, text = scrape(w.sources)
    names = {name for name, _ in found}
    assert not [name for name in names if name.startswith(("coredns_dns_", "coredns_cache_", "coredns_proxy_"))]
    assert "coredns_dns_" not in text
    for name in (
        "coredns_panics_total",
        "coredns_health_request_failures_total",
        "coredns_health_request_duration_seconds_count",
        "coredns_reload_failed_total",
        "coredns_hosts_reload_timestamp_seconds",
        "coredns_forward_healthcheck_broken_total",
        "coredns_forward_max_concurrent_rejects_total",
    ):
        assert series(found, name) == {"": 0}
    assert "coredns_reload_version_info" not in names


def test_text_format(used):
    """Types are named as Go's library names them; nothing but the text format of 0.0.4 is on the page."""
    _, text = scrape(used.sources)
    assert "# TYPE coredns_dns_requests_total counter\n" in text
    assert "# TYPE coredns_dns_request_duration_seconds histogram\n" in text
    assert "# TYPE coredns_cache_entries gauge\n" in text
    assert "_created" not in text
    assert "# EOF" not in text


def test_no_name_clash(used):
    """Every family stands on the page once."""
    _, text = scrape(used.sources)
    types = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert sorted(set(types)) == sorted(types)


def test_the_loop_turns_while_the_page_is_made(used):
    """Between the pieces of the page others get their turn."""

    async def both():
        turns = 0

        async def tick():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticker = asyncio.ensure_future(tick())
        await Page(used.sources).render()
        ticker.cancel()
        return turns

    assert asyncio.run(both()) > 10


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_accepts_the_page(used):
    """promtool reads the page, and finds no fault with our own names."""
    _, text = scrape(used.sources)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    faults = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("coredns_")]
    assert faults == []
