"""Alerts, the dashboard and the scrape configuration, tried out on the real Prometheus with a real shardns."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import dns.exception
import pytest
import yaml

from tests.deploy import kustomize
from tests.e2e import shardns as program
from tests.peers import client, ports
from tests.peers.process import running, wait_until

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy/monitoring"
UNIT_TEST = Path(__file__).parent / "alerts_test.yaml"
DASHBOARD = json.loads((ROOT / "deploy/grafana/shardns.json").read_text())
FAMILY = re.compile(r"^\| `([a-z_0-9]+)` \| (?:counter|gauge|histogram) \|", re.MULTILINE)
METRIC = re.compile(r"\b((?:coredns|shardns|process)_[a-z_0-9]+)\b")
WINDOW_S = 6  # what stands for Grafana's $__rate_interval; the scrapes are half a second apart

# Families whose first series comes with the first event, which the load below does not bring about.
LATER = {"coredns_cache_evictions_total", "coredns_cache_prefetch_total"}

# Names on public node-local-dns dashboards and alerts, of today's node-cache and of older ones.
PUBLIC = """
coredns_build_info coredns_dns_requests_total coredns_dns_request_duration_seconds coredns_dns_request_size_bytes
coredns_dns_response_size_bytes coredns_dns_do_requests_total coredns_dns_responses_total
coredns_dns_https_responses_total coredns_dns_https3_responses_total coredns_dns_quic_responses_total
coredns_panics_total coredns_plugin_enabled
coredns_cache_entries coredns_cache_requests_total coredns_cache_hits_total coredns_cache_misses_total
coredns_cache_prefetch_total coredns_cache_drops_total coredns_cache_served_stale_total coredns_cache_evictions_total
coredns_forward_healthcheck_broken_total coredns_forward_max_concurrent_rejects_total
coredns_proxy_request_duration_seconds coredns_proxy_healthcheck_failures_total coredns_proxy_conn_cache_hits_total
coredns_proxy_conn_cache_misses_total coredns_health_request_duration_seconds coredns_health_request_failures_total
coredns_hosts_entries coredns_hosts_reload_timestamp_seconds coredns_reload_failed_total coredns_reload_version_info
coredns_template_matches_total coredns_template_template_failures_total coredns_template_rr_failures_total
coredns_dns64_requests_translated_total coredns_nodecache_setup_errors_total
coredns_forward_requests_total coredns_forward_responses_total coredns_forward_request_duration_seconds
coredns_forward_healthcheck_failures_total coredns_dns_request_count_total coredns_cache_size
process_cpu_seconds_total process_resident_memory_bytes process_virtual_memory_bytes process_open_fds process_max_fds
process_start_time_seconds go_goroutines go_memstats_alloc_bytes go_gc_duration_seconds go_info go_threads
promhttp_metric_handler_requests_total
""".split()  # noqa: SIM905 - fifty names are read more easily so

COREFILE = """
cluster.local {
    bind 127.0.0.1
    errors
    cache {
        success 9984 30
        denial 9984 5
        serve_stale
    }
    forward . UPSTREAM {
        force_tcp
    }
    prometheus METRICS
    health HEALTH
    ready READY
}
. {
    bind 127.0.0.1
    errors
    cache 30
    forward . NOBODY {
        health_check 0.1s
    }
    prometheus METRICS
}
"""


def families() -> set[str]:
    """The names in docs/metrics.md, which another test holds to the page itself."""
    return set(FAMILY.findall((ROOT / "docs/metrics.md").read_text()))


def names(expression: str) -> set[str]:
    """The families that a query speaks of; a histogram's series count as it."""
    known = families()
    return {
        base if (base := re.sub(r"_(bucket|count|sum)$", "", name)) in known else name
        for name in METRIC.findall(expression)
    }


def rules() -> list[dict[str, str]]:
    """The alert rules."""
    return [
        rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
    ]


def queries() -> list[str]:
    """Every query of the dashboard's panels."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Prometheus's promtool")


@needs_promtool
@pytest.mark.slow
def test_alerts():
    """Each alert finds the node with its trouble, and not the one that is well."""
    for words in (("check", "rules", MONITORING / "alerts.yaml"), ("test", "rules", UNIT_TEST)):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested():
    """No alert is without its case."""
    cases = yaml.safe_load(UNIT_TEST.read_text())["tests"]
    tested = [case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]]
    assert sorted(tested) == sorted(rule["alert"] for rule in rules())


def test_alert_names():
    """Alerts and the page about them speak of families that exist, and the page of every alert."""
    page = (ROOT / "docs/monitoring.md").read_text()
    for rule in rules():
        assert names(rule["expr"]) <= families(), rule["alert"]
        assert f"`{rule['alert']}`" in page


def test_prometheus_rule():
    """The Operator's copy of the rules says the same."""
    (rule,) = kustomize.load(MONITORING / "prometheusrule.yaml")
    assert rule["spec"] == yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    assert {one["kind"] for one in kustomize.render(MONITORING)} == {"PodMonitor", "PrometheusRule"}


def test_dashboard():
    """Every panel has a place of its own, a query, and families that exist."""
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not places & cells, panel["title"]
        places |= cells
        assert at["x"] + at["w"] <= 24
        assert panel["type"] == "row" or panel["targets"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for query in queries():
        assert names(query), query
        assert names(query) <= families(), query


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name):
    """A name that dashboards in the wild use is exported, or docs/monitoring.md says what to ask instead."""
    section = (ROOT / "docs/monitoring.md").read_text().partition("## Dashboards of node-cache")[2]
    cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    gone = [word.strip("`") for cell in cells for word in cell.split(", ")]
    assert (name in families()) != any(fnmatch.fnmatch(name, pattern) for pattern in gone)


class Prometheus:
    """A running Prometheus that scrapes one shardns."""

    def __init__(self, port: int) -> None:
        """port: of its API."""
        self._port = port

    def ask(self, expression: str) -> list[dict[str, object]]:
        """What an instant query finds now. Raises HTTPError, with the reason, for one that it does not understand."""
        words = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/query?{words}", timeout=10) as response:
            return list(json.load(response)["data"]["result"])

    def is_ready(self) -> bool:
        """Whether it has scraped twice."""
        try:
            found = self.ask("count_over_time(up[1m]) >= 2 and up == 1")
        except OSError:
            return False
        return bool(found)


def scrape_config(metrics: str) -> dict[str, object]:
    """The PodMonitor as the Operator writes it into Prometheus's configuration, for one pod at this host and port."""
    (monitor,) = kustomize.load(MONITORING / "podmonitor.yaml")
    host, _, port = metrics.rpartition(":")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    text = yaml.safe_dump(endpoint["relabelings"]).replace(":9253", f":{port}")
    snake = re.sub(
        r"^(\W*)(source|target)(Label)", lambda word: f"{word[1]}{word[2]}_{word[3].lower()}", text, flags=re.MULTILINE
    )
    job = {"source_labels": [f"__meta_kubernetes_pod_label_{monitor['spec']['jobLabel'].replace('-', '_')}"]}
    pod = {
        "__meta_kubernetes_pod_ip": host,
        "__meta_kubernetes_pod_node_name": "node-a",
        "__meta_kubernetes_pod_label_k8s_app": monitor["spec"]["selector"]["matchLabels"]["k8s-app"],
    }
    return {
        "job_name": "kube-system/node-local-dns",
        "metrics_path": endpoint["path"],
        "relabel_configs": [{**job, "target_label": "job"}, *yaml.safe_load(snake)],
        "static_configs": [{"targets": [host], "labels": pod}],
    }


@pytest.fixture(scope="module")
def scraped(kube_dns, tmp_path_factory):
    """A Prometheus that scrapes a shardns, and the shardns."""
    folder = tmp_path_factory.mktemp("prometheus")
    places = {"NOBODY": "127.0.0.1:9"}
    with (
        program.shardns(folder, COREFILE, upstream=f"{kube_dns.host}:{kube_dns.port}", places=places) as made,
        ports.reserved() as port,
    ):
        # Rules of the node are not made here; the counter of their errors is what the panel needs.
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
            "rule_files": [str(MONITORING / "alerts.yaml")],
            "scrape_configs": [scrape_config(made.places["METRICS"])],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        asked = Prometheus(port)
        with running("prometheus", command, directory=folder, ready=asked.is_ready, within_s=30):
            yield asked, made


def load(made: program.Shardns, until: float) -> None:
    """Nothing; until then clients have asked for what there is and what there is not, in every way."""
    number = 0
    while time.monotonic() < until:
        number += 1
        for name, rtype in (
            ("kubernetes.default.svc.cluster.local", "A"),
            ("kubernetes.default.svc.cluster.local", "AAAA"),
            (f"n{number}.default.svc.cluster.local", "A"),
            ("_https._tcp.kubernetes.default.svc.cluster.local", "SRV"),
            (f"n{number}.example.org", "A"),
        ):
            try:
                client.ask(
                    name, rtype, port=made.port, tcp=bool(number % 3 == 0), do=bool(number % 5 == 0), timeout_s=2
                )
            except dns.exception.DNSException:
                continue


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus")
def test_queries(scraped):
    """Every query of the dashboard is understood and finds something on a shardns under load."""
    prometheus, made = scraped
    load(made, time.monotonic() + WINDOW_S)
    missing = []
    for query in queries():
        filled = query.replace("$__rate_interval", f"{WINDOW_S}s").replace("$job", ".*").replace("$instance", ".*")
        if not prometheus.ask(filled) and not names(query) & LATER:
            missing.append(query)
    assert missing == []
    for variable in DASHBOARD["templating"]["list"][1:]:
        series, _, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
        assert all(label in one["metric"] for one in prometheus.ask(series.replace("$job", ".*")))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus")
def test_labels(scraped):
    """Scraped as the PodMonitor says, the job and the node have the names that alerts and dashboard go by."""
    prometheus, _ = scraped
    (found,) = prometheus.ask("up")
    assert found["metric"] == {"__name__": "up", "job": "node-local-dns", "instance": "node-a"}
    wait_until(lambda: bool(prometheus.ask("shardns_build_info")), what="a scrape")
    for rule in rules():
        prometheus.ask(rule["expr"])
