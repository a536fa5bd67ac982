"""/health, /ready and /metrics, and the end in lameduck."""

import http.client
import os
import signal
import socket
import subprocess
import time

import pytest

from tests.e2e import shardns as program
from tests.peers.client import ask
from tests.peers.dig import dig
from tests.peers.process import wait_until
from tests.peers.script import Say

WEB = "web.default.svc.cluster.local"
FAMILIES = [
    "coredns_build_info",
    "coredns_dns_requests_total",
    "coredns_dns_request_duration_seconds_bucket",
    "coredns_dns_request_size_bytes_bucket",
    "coredns_dns_response_size_bytes_bucket",
    "coredns_dns_responses_total",
    "coredns_plugin_enabled",
    "coredns_cache_entries",
    "coredns_cache_requests_total",
    "coredns_cache_hits_total",
    "coredns_cache_misses_total",
    "coredns_panics_total",
    "coredns_proxy_request_duration_seconds_bucket",
    "coredns_proxy_conn_cache_hits_total",
    "coredns_proxy_conn_cache_misses_total",
    "coredns_forward_healthcheck_broken_total",
    "coredns_forward_max_concurrent_rejects_total",
    "coredns_health_request_duration_seconds_bucket",
    "coredns_health_request_failures_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
]


def test_health_and_ready(served):
    """/health and /ready are 200 OK while all is well; other paths are 404."""
    assert served.http("HEALTH", "/health") == (200, "OK")
    assert served.http("READY", "/ready") == (200, "OK")
    for place in ("HEALTH", "READY", "METRICS"):
        assert served.http(place, "/other")[0] == 404


def test_health_tells_of_a_stuck_worker(launch):
    """/health and /ready are 503, and name it, while a worker does not turn; 200 again when it does."""
    made = launch(flags=("-heartbeat-timeout", "60s"))
    pid = made.pids()["worker 0"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: made.http("HEALTH", "/health")[0] == 503, within_s=8, what="/health to notice")
        assert "worker 0" in made.http("HEALTH", "/health")[1]
        assert made.http("READY", "/ready") == (503, "worker 0")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: made.http("HEALTH", "/health")[0] == 200, within_s=5, what="/health to be well again")
    assert made.pids()["worker 0"] == pid


def test_metrics_families(served):
    """The page has CoreDNS's families under CoreDNS's names, in the text format that Prometheus reads."""
    for name in (WEB, WEB, "api.default.svc.cluster.local", "db.default.svc.cluster.local"):
        ask(name, port=served.port)
    time.sleep(1.2)
    page = served.scrape()
    names = {sample.name for sample in page.samples}
    assert sorted(set(FAMILIES) - names) == []
    enabled = {one["name"] for one in page.labels("coredns_plugin_enabled")}
    assert enabled >= {"cache", "errors", "forward", "prometheus"}
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, input=page.text, capture_output=True, text=True, check=False)
    assert "error while linting" not in checked.stderr.lower()


def test_metrics_count(scripted):
    """Every query, hit, miss, code and size is counted once, under CoreDNS's labels."""
    says = {"a.example.org.": Say("a.example.org. 30 IN A 192.0.2.1"), "bad.example.org.": Say(rcode="REFUSED")}
    made, _ = scripted(says)
    for _ in range(3):
        ask("a.example.org", port=made.port)
    ask("a.example.org", port=made.port, tcp=True)
    ask("missing.example.org", "AAAA", port=made.port, do=True)
    dig("bad.example.org", "TYPE4711", port=made.port)
    page = made.scrape()
    server, zone = f"dns://127.0.0.1:{made.port}", "."
    block = {"server": server, "zone": zone, "view": ""}
    requests = {(one["proto"], one["family"], one["type"]) for one in page.labels("coredns_dns_requests_total")}
    assert requests == {("udp", "1", "A"), ("tcp", "1", "A"), ("udp", "1", "AAAA"), ("udp", "1", "other")}
    assert page.total("coredns_dns_requests_total", **block) == 6
    assert page.total("coredns_dns_requests_total", **block, proto="tcp") == 1
    assert page.total("coredns_dns_do_requests_total", **block) == 1
    assert page.total("coredns_dns_responses_total", **block, rcode="NOERROR", plugin="cache") == 4
    assert page.total("coredns_dns_responses_total", **block, rcode="NXDOMAIN", plugin="cache") == 1
    assert page.total("coredns_dns_responses_total", **block, rcode="REFUSED") == 1
    assert page.total("coredns_dns_request_duration_seconds_count", **block) == 6
    assert page.total("coredns_dns_request_size_bytes_count", **block, proto="udp") == 5
    assert page.total("coredns_dns_response_size_bytes_count", **block, proto="tcp") == 1
    cache = {"server": server, "zones": ".", "view": ""}
    assert page.total("coredns_cache_requests_total", **cache) == 6
    assert page.total("coredns_cache_hits_total", **cache, type="success") == 3
    assert page.total("coredns_cache_misses_total", **cache) == 3
    assert page.total("coredns_cache_entries", **cache, type="success") == 1
    assert page.total("coredns_cache_entries", **cache, type="denial") == 1
    assert page.total("coredns_proxy_request_duration_seconds_count", proxy_name="forward") == 3
    assert page.total("shardns_upstream_queries_total", proto="tcp") == 3


def test_metrics_survive_processes(launch, kube_dns):
    """Counters go on when a worker and the upstream process are killed."""
    made = launch(upstream=f"127.0.0.1:{kube_dns.port}")
    for _ in range(20):
        ask(WEB, port=made.port)
    before = made.scrape().total("coredns_dns_requests_total")
    for role in ("worker 0", "worker 1", "upstream"):
        pid = made.pids()[role]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda role=role, pid=pid: made.pids().get(role, pid) != pid, what=role)  # type: ignore[misc]
    assert ask(WEB, port=made.port, timeout_s=6).answer
    wait_until(lambda: made.http("METRICS", "/metrics")[0] == 200, what="the page")
    assert made.scrape().total("coredns_dns_requests_total") == before + 1 == 21
    assert made.scrape().total("shardns_child_restarts_total", role="worker") == 2
    assert made.scrape().total("shardns_child_restarts_total", role="upstream") == 1


def test_second_metrics_address(launch, port):
    """-metrics-listen-address serves the same page, with node-cache's own family."""
    made = launch(flags=("-metrics-listen-address", f"127.0.0.1:{port}"), places={"SECOND": f"127.0.0.1:{port}"})
    status, text = made.http("SECOND", "/metrics")
    assert status == 200
    assert "coredns_nodecache_setup_errors_total" in text


def test_http_clients(served):
    """Several requests on one connection, HEAD, other methods, and nonsense: answered or closed, and others served."""
    host, _, number = served.places["METRICS"].rpartition(":")
    connection = http.client.HTTPConnection(host, int(number), timeout=5)
    for method, wanted in (("GET", 200), ("HEAD", 200), ("GET", 200)):
        connection.request(method, "/metrics")
        response = connection.getresponse()
        assert response.status == wanted
        assert response.getheader("Content-Type", "").startswith("text/plain; version=0.0.4")
        response.read()
    connection.close()
    for nonsense in (b"\0\1\2\3\r\n\r\n", b"GET " + b"a" * 100_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000):
        with socket.create_connection((host, int(number)), timeout=5) as sock:
            try:
                sock.sendall(nonsense)
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1000)
            except (ConnectionError, TimeoutError, OSError):
                pass
    assert served.http("METRICS", "/metrics")[0] == 200


def test_busy_health_port(launch, kube_dns, port):
    """A health port that another has costs a warning, never the DNS; it is taken as soon as it is free."""
    with socket.create_server(("127.0.0.1", port)) as other:
        made = launch(upstream=f"127.0.0.1:{kube_dns.port}", places={"HEALTH": f"127.0.0.1:{port}"})
        assert dig(WEB, port=made.port).data() == ["10.96.10.1"]
        (event,) = made.events("listener.failed")
        assert event["level"] == "warning"
        other.close()
        wait_until(lambda: made.http("HEALTH", "/health")[0] == 200, within_s=12, what="/health")


def test_lameduck(launch, kube_dns):
    """After SIGTERM DNS and /health are served for the time of lameduck, /ready says no; then it ends with code 0."""
    text = program.STOCK.replace("health HEALTH", "health HEALTH {\n lameduck 2s\n}")
    made = launch(text, upstream=f"127.0.0.1:{kube_dns.port}")
    began = time.monotonic()
    os.kill(made.process.pid, signal.SIGTERM)
    while time.monotonic() - began < 1.7:
        assert ask(WEB, port=made.port).answer
        assert made.http("HEALTH", "/health") == (200, "OK")
        time.sleep(0.1)
    assert made.http("READY", "/ready")[0] == 503
    assert made.process.wait(10) == 0
    made.ended = True
    assert 1.9 < time.monotonic() - began < 8
    assert [event["lasts_s"] for event in made.events("lameduck.entered")] == [2.0]


@pytest.mark.parametrize(
    "signals, code", [([signal.SIGINT, signal.SIGINT], 2), ([signal.SIGQUIT], 0), ([signal.SIGTERM, signal.SIGQUIT], 0)]
)
def test_lameduck_cut_short(launch, signals, code):
    """A second SIGINT ends it at once with code 2, SIGQUIT with code 0, whatever lameduck says."""
    made = launch(program.STOCK.replace("health HEALTH", "health HEALTH {\n lameduck 30s\n}"))
    for number in signals[:-1]:
        os.kill(made.process.pid, number)
        made.wait_event("lameduck.entered")
    made.stop(signals[-1], code=code, within_s=5)
