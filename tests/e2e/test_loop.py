"""Forwarding loops: found at start, told in CoreDNS's words, ended with exit code 1."""

import re
import subprocess

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, nameservers, ports
from tests.peers.client import ask, rcode
from tests.peers.process import wait_until
from tests.peers.script import Say, Script

LOOP = program.STOCK.replace("errors", "errors\n loop", 1)


@pytest.mark.parametrize("forward", ["force_tcp", "prefer_udp"])
def test_loop_is_fatal(tmp_path, forward):
    """An unbound that forwards back is a loop: FATAL, with CoreDNS's text, and exit code 1 within seconds."""
    with ports.reserved() as port, nameservers.unbound_forwarder(tmp_path, f"127.0.0.1@{port}") as back:
        corefile = tmp_path / "Corefile"
        places = {"UPSTREAM": f"127.0.0.1:{back.port}"}
        text = LOOP.replace("force_tcp", forward)
        text = re.sub(r"    (prometheus|health|ready) .*\n", "", text)
        corefile.write_text(program.filled(text, places))
        flags = ["-dns.port", str(port), "-metrics-listen-address", "", "-shm-name", f"shardns-test-loop-{port}"]
        command = [*program.command(corefile), *flags]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        finally:
            program.SHM.joinpath(f"shardns-test-loop-{port}").unlink(missing_ok=True)
    assert done.returncode == 1
    assert re.search(
        rf'plugin/loop: Loop \(127\.0\.0\.1:{port} -> \S+\) detected for zone \\?"\.\\?", see https://coredns\.io/plugins/loop'
        r'#troubleshooting\. Query: \\?"HINFO \d+\.\d+\.\\?"',
        done.stdout,
    )


def test_no_loop(launch):
    """Without a loop the probe is asked once, for a random name, and nothing ends."""
    script = Script({"*": Say(rcode="NXDOMAIN", authority="example.org. 30 IN SOA n. h. 1 2 3 4 30")})
    with fake.nameserver(respond=script) as server:
        made = launch(LOOP, upstream=f"127.0.0.1:{server.port}")
        wait_until(lambda: bool(script.queries), what="the probe")
        assert rcode(ask("a.example.org", port=made.port)) == "NXDOMAIN"
        probes = [name for name in script.asked if name.endswith(" HINFO")]
        assert len(probes) == 1
        assert re.fullmatch(r"\d+\.\d+\. HINFO", probes[0])
        assert script.asked[probes[0]] == 1


def test_probe_waits_for_the_nameserver(launch, port):
    """A nameserver that is not there yet is no loop: the probe is tried again, and DNS is served."""
    made = launch(LOOP.replace("cache 30", "cache {\n servfail 0\n}"), upstream=f"127.0.0.1:{port}")
    assert rcode(ask("a.example.org", port=made.port, timeout_s=6)) == "SERVFAIL"
    with fake.nameserver(port=port) as server:
        wait_until(lambda: server.queries > 0, within_s=8, what="the probe")
        assert made.pids()["upstream"]


def test_loop_without_the_plugin(tmp_path, launch):
    """Without the plugin a query that comes back joins its own flight: one upstream query, SERVFAIL, no storm."""
    with ports.reserved() as port, nameservers.unbound_forwarder(tmp_path, f"127.0.0.1@{port}") as back:
        made = launch(upstream=f"127.0.0.1:{back.port}", port=port)
        assert rcode(ask("a.example.org", port=port, timeout_s=9)) == "SERVFAIL"
        assert made.scrape().total("coredns_dns_requests_total") < 40
