"""hosts and template in the whole program: answers as clients see them, what is kept, what is counted."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import pytest

from tests.e2e import shardns as program
from tests.peers.client import ask, flags, rcode, texts
from tests.peers.dig import dig
from tests.peers.process import wait_until
from tests.peers.script import Say


def block(lines, *, cache="cache 30", zone=".", forward="forward . UPSTREAM"):
    """A server block with these lines."""
    return f"""
{zone} {{
    bind 127.0.0.1
    errors
    {cache}
    {lines}
    {forward}
    prometheus METRICS
}}
"""


HOSTS = """
    hosts FILE example.org {
        192.0.2.9 a.example.org inline.example.org
        reload 1s
        ttl 20
        fallthrough sub.example.org
    }
"""


@pytest.fixture
def hosts_file():
    """A hosts file that the upstream process may read, which is nobody to pytest's own folders."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "hosts"
        path.write_text("192.0.2.1 a.example.org b.example.org\n2001:db8::1 a.example.org\n")
        yield path


def places(path):
    """The word FILE in a Corefile."""
    return {"FILE": str(path)}


@pytest.mark.parametrize("cache", ["cache 30", ""])
@pytest.mark.parametrize("tcp", [False, True])
def test_hosts(scripted, hosts_file, cache, tcp):
    """Addresses, reverse names, NODATA, SERVFAIL and what falls through; the first time and the next."""
    text = block(HOSTS, cache=cache)
    says = {"x.sub.example.org. A": Say("x.sub.example.org. 30 IN A 192.0.2.77")}
    served, script = scripted(says, text, places=places(hosts_file))
    for _ in range(2):
        for name, rtype, wanted in (
            ("A.example.org", "A", ["192.0.2.1", "192.0.2.9"]),
            ("a.example.org", "AAAA", ["2001:db8::1"]),
            ("b.example.org", "AAAA", []),
            ("b.example.org", "TXT", []),
            ("1.2.0.192.in-addr.arpa", "PTR", ["a.example.org.", "b.example.org."]),
            ("9.2.0.192.in-addr.arpa", "PTR", ["a.example.org.", "inline.example.org."]),
        ):
            answer = ask(name, rtype, port=served.port, tcp=tcp)
            assert (rcode(answer), sorted(_data(answer))) == ("NOERROR", sorted(wanted)), (name, rtype)
            assert flags(answer) == {"QR", "AA", "RD"}
            assert all(0 < rrset.ttl <= 20 for rrset in answer.answer)
        assert rcode(ask("missing.example.org", port=served.port, tcp=tcp)) == "SERVFAIL"
        assert _data(ask("x.sub.example.org", port=served.port, tcp=tcp)) == ["192.0.2.77"]
        assert rcode(ask("8.2.0.192.in-addr.arpa", "PTR", port=served.port, tcp=tcp)) == "NXDOMAIN"
    assert set(script.asked) == {"x.sub.example.org. A", "8.2.0.192.in-addr.arpa. PTR"}
    page = served.scrape()
    writer = "cache" if cache else "hosts"
    assert page.total("coredns_dns_responses_total", plugin=writer, rcode="NOERROR") >= 12
    assert page.total("coredns_dns_responses_total", plugin="", rcode="SERVFAIL") == 2
    assert page.total("coredns_hosts_entries", hostsfile=str(hosts_file)) == 10
    assert page.total("coredns_hosts_reload_timestamp_seconds") == pytest.approx(hosts_file.stat().st_mtime, abs=0.01)
    assert served.plain("plugin/errors") == []


def test_hosts_file_changes(scripted, hosts_file):
    """A changed file is answered from; what is cached lives on; a missing one leaves all as it was, said once."""
    served, _ = scripted({}, block(HOSTS), places=places(hosts_file))
    assert _data(ask("b.example.org", port=served.port)) == ["192.0.2.1"]
    hosts_file.write_text("192.0.2.2 b.example.org c.example.org\n")
    wait_until(lambda: _data(ask("c.example.org", port=served.port)) == ["192.0.2.2"], within_s=10, what="the new file")
    assert _data(ask("b.example.org", port=served.port)) == ["192.0.2.1"]
    hosts_file.unlink()
    served.wait_event("hosts.failed")
    assert _data(ask("b.example.org", "A", port=served.port, tcp=True)) == ["192.0.2.1"]
    assert _data(ask("2.2.0.192.in-addr.arpa", "PTR", port=served.port)) == ["b.example.org.", "c.example.org."]
    new = hosts_file.with_suffix(".new")
    new.write_text("192.0.2.3 d.example.org\n")
    new.replace(hosts_file)
    wait_until(lambda: _data(ask("d.example.org", port=served.port)) == ["192.0.2.3"], within_s=10, what="the new file")
    assert len(served.events("hosts.failed")) == 1


def test_servfail_of_hosts_is_not_kept(scripted, hosts_file):
    """A name that comes into the file is answered at once, though it was asked for before."""
    served, _ = scripted({}, block(HOSTS), places=places(hosts_file))
    assert rcode(ask("new.example.org", port=served.port)) == "SERVFAIL"
    with hosts_file.open("a") as file:
        file.write("192.0.2.5 new.example.org\n")
    wait_until(lambda: rcode(ask("new.example.org", port=served.port)) == "NOERROR", within_s=4, what="the new name")
    assert served.scrape().total("coredns_cache_entries", type="denial") == 0


TEMPLATES = """
    template IN A ip.example.org {
        match "^(?P<a>[0-9]+)-(?P<b>[0-9]+)[.]ip[.]example[.]org[.]$"
        answer "{{ .Name }} 60 IN A 192.0.{{ .Group.a }}.{{ .Group.b }}"
        additional "{{ .Name }} 60 IN TXT \\"{{ .Zone }} {{ .Class }} {{ .Type }}\\""
        fallthrough
    }
    template ANY AAAA {
        rcode NOERROR
    }
    template ANY ANY nx.example.org {
        rcode NXDOMAIN
        authority "nx.example.org. 60 IN SOA ns. hm. (1 60 60 60 60)"
    }
    template ANY ANY bare.example.org {
        rcode NXDOMAIN
    }
    template ANY ANY only.example.org {
        match ^a
    }
    template IN A fail.example.org {
        rcode SERVFAIL
    }
"""


def test_template(scripted):
    """Filled in, empty, NXDOMAIN with and without SOA, without a match: as said, and kept where CoreDNS keeps it."""
    served, script = scripted({}, block(TEMPLATES))
    for _ in range(2):
        answer = ask("7-9.ip.example.org", port=served.port)
        assert (_data(answer), flags(answer)) == (["192.0.7.9"], {"QR", "AA", "RD"})
        assert texts(answer, "additional")[0].endswith('TXT "ip.example.org. IN A"')
        answer = ask("www.example.net", "AAAA", port=served.port)
        assert (rcode(answer), _data(answer)) == ("NOERROR", [])
        answer = ask("x.nx.example.org", "TXT", port=served.port)
        assert (rcode(answer), len(answer.authority)) == ("NXDOMAIN", 1)
        assert rcode(ask("bare.example.org", port=served.port)) == "NXDOMAIN"
        assert rcode(ask("a.only.example.org", port=served.port)) == "NOERROR"
        assert rcode(ask("b.only.example.org", port=served.port)) == "SERVFAIL"
        assert rcode(ask("fail.example.org", port=served.port)) == "SERVFAIL"
        assert rcode(ask("500-1.ip.example.org", port=served.port)) == "SERVFAIL"
    assert rcode(ask("x.ip.example.org", port=served.port)) == "NXDOMAIN"
    assert set(script.asked) == {"x.ip.example.org. A"}
    page = served.scrape()
    matches = {
        zone: page.total("coredns_template_matches_total", zone=zone) for zone in ("ip.example.org.", "nx.example.org.")
    }
    assert matches == {"ip.example.org.": 3, "nx.example.org.": 1}
    assert page.total("coredns_template_matches_total", zone="bare.example.org.") == 2
    assert page.total("coredns_template_matches_total", zone="only.example.org.") == 1
    assert page.total("coredns_template_rr_failures_total", zone="ip.example.org.", section="answer") == 2
    lines = served.wait_plain("plugin/errors", 2)
    assert {line.split(": ", 2)[1] for line in lines} == {"2 500-1.ip.example.org. A"}


def test_empty_answers_are_hits(scripted):
    """Names that differ are misses, one name asked again is a hit: no question goes upstream."""
    served, script = scripted({}, block("template ANY AAAA {\n rcode NOERROR\n}"))
    for name, _ in itertools.product((f"n{n}.example.org" for n in range(5)), range(4)):
        assert rcode(ask(name, "AAAA", port=served.port)) == "NOERROR"
    page = served.scrape()
    assert page.total("coredns_cache_hits_total") == 15
    assert page.total("coredns_template_matches_total") == 5
    assert not script.asked


CNAME = (
    'template IN ANY c.example.org {\n match "^(.*)[.]c[.]"\n answer "{{ .Name }} 60 CNAME {{ index .Match 1 }}."\n}'
)


def test_cname_targets_are_looked_up(scripted):
    """Through our own server, in whichever block it lies; not for other types; what fails is not kept."""
    says = {
        "www.example.net. A": Say("www.example.net. 30 IN A 192.0.2.80"),
        "broken.example.net. A": [Say(rcode="SERVFAIL"), Say("broken.example.net. 30 IN A 192.0.2.81")],
    }
    inner = block("hosts {\n192.0.2.5 x.lan.example.org\n}", zone="lan.example.org", forward="")
    text = block(CNAME, cache="cache 30 {\n servfail 0s\n}")
    served, script = scripted(says, text + inner)
    for _ in range(2):
        assert _data(ask("www.example.net.c.example.org", port=served.port)) == ["192.0.2.80", "www.example.net."]
        assert _data(ask("x.lan.example.org.c.example.org", port=served.port)) == [
            "192.0.2.5",
            "x.lan.example.org.",
        ]
        assert _data(ask("www.example.net.c.example.org", "TXT", port=served.port)) == ["www.example.net."]
    assert script.asked["www.example.net. A"] == 1
    assert script.asked["www.example.net. TXT"] == 0
    assert _data(ask("broken.example.net.c.example.org", port=served.port)) == ["broken.example.net."]
    wanted = ["192.0.2.81", "broken.example.net."]
    wait_until(
        lambda: _data(ask("broken.example.net.c.example.org", port=served.port)) == wanted,
        within_s=5,
        what="the target, looked up again",
    )


def test_cname_circle(scripted):
    """Two templates that lead to each other answer at once, with what there is."""
    lines = (
        'template IN A a.example.org {\n answer "{{ .Name }} CNAME b.example.org."\n}\n'
        'template IN A b.example.org {\n answer "{{ .Name }} CNAME a.example.org."\n}'
    )
    served, _ = scripted({}, block(lines))
    answer = ask("a.example.org", port=served.port, timeout_s=2)
    assert rcode(answer) == "NOERROR"
    assert _data(answer) == ["a.example.org.", "b.example.org."]


def test_dig_reads_it(scripted):
    """dig finds nothing wrong with an answer of ours."""
    served, _ = scripted({}, block(TEMPLATES))
    answer = dig("7-9.ip.example.org", port=served.port)
    assert "192.0.7.9" in str(answer)


def test_reload_takes_new_lines(scripted, hosts_file):
    """A changed Corefile, or a new plugin in it, answers without an old entry in the way."""
    served, _ = scripted({}, block(HOSTS), places=places(hosts_file))
    assert _data(ask("a.example.org", port=served.port)) == ["192.0.2.1", "192.0.2.9"]
    served.reload(block(HOSTS.replace("192.0.2.9", "192.0.2.8")))
    assert _data(ask("a.example.org", port=served.port)) == ["192.0.2.1", "192.0.2.8"]
    served.reload(block('template IN A {\n answer "{{ .Name }} A 192.0.2.99"\n}'))
    assert _data(ask("a.example.org", port=served.port)) == ["192.0.2.99"]


def test_check_prints_the_plugins(tmp_path):
    """shardns check shows what hosts and template will do."""
    path = tmp_path / "Corefile"
    path.write_text(
        program.filled(block(HOSTS + TEMPLATES), {"UPSTREAM": "192.0.2.53", "METRICS": ":9253", "FILE": os.devnull})
    )
    code, out, _ = program.run("check", str(path))
    assert code == 0
    for word in ("reload", "fallthrough", "192.0.2.9 a.example.org inline.example.org", "NXDOMAIN", "stanzas[1].match"):
        assert word in out


def _data(answer):
    """The data of the answer's records, sorted."""
    return sorted(line.split(" ", 3)[3] for line in texts(answer))
