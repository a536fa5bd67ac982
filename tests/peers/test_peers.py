"""The peers themselves: every nameserver gives the same cluster, dig and dnspython read it alike."""

import pytest

from tests.peers import nameservers
from tests.peers.client import ask, flags, rcode, texts
from tests.peers.dig import NoAnswerError, dig

WEB = "web.default.svc.cluster.local"


@pytest.fixture(scope="module")
def named(cluster, tmp_path_factory):
    """BIND with the small cluster."""
    with nameservers.bind(cluster, tmp_path_factory.mktemp("named")) as server:
        yield server


@pytest.mark.parametrize("peer", ["kube_dns", "knot", "named"])
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    "name, rtype, wanted_rcode",
    [
        (WEB, "A", "NOERROR"),
        (WEB, "MX", "NOERROR"),
        ("db.default.svc.cluster.local", "A", "NOERROR"),
        ("_http._tcp.web.default.svc.cluster.local", "SRV", "NOERROR"),
        ("missing.default.svc.cluster.local", "A", "NXDOMAIN"),
        ("1.10.96.10.in-addr.arpa", "PTR", "NOERROR"),
        ("www.example.org", "AAAA", "NOERROR"),
        ("www.example.net", "A", "REFUSED"),
    ],
)
def test_peers_agree(request, standin_port, peer, name, rtype, wanted_rcode, tcp):
    """unbound, knot and BIND answer as the embedded stand-in does: rcode, answer, and the SOA of a denial."""
    server = request.getfixturevalue(peer)
    theirs = ask(name, rtype, port=server.port, tcp=tcp)
    ours = ask(name, rtype, port=standin_port, tcp=tcp)
    assert rcode(theirs) == rcode(ours) == wanted_rcode
    assert texts(theirs) == texts(ours)
    if not theirs.answer:
        assert texts(theirs, "authority") == texts(ours, "authority")
    assert wanted_rcode == "REFUSED" or "AA" in flags(theirs)


def test_unbound_counts(kube_dns):
    """Unbound says how many queries it has had."""
    before = nameservers.unbound_counts(kube_dns)["total.num.queries"]
    ask(WEB, port=kube_dns.port)
    assert nameservers.unbound_counts(kube_dns)["total.num.queries"] == before + 1


def test_dnsmasq_forwards(kube_dns, tmp_path):
    """Dnsmasq passes on what unbound answers."""
    with nameservers.dnsmasq(kube_dns, tmp_path, WEB) as server:
        assert dig(WEB, port=server.port).data() == ["10.96.10.1"]


def test_dig_reads_everything(kube_dns):
    """An answer's header, OPT, sections and size are all there."""
    answer = dig(WEB, "+dnssec", port=kube_dns.port)
    assert (answer.opcode, answer.status, answer.question) == ("QUERY", "NOERROR", f"{WEB}. IN A")
    assert answer.edns is not None
    assert (answer.edns.version, answer.edns.flags, answer.edns.size) == (0, frozenset({"do"}), 1232)
    assert [(record.name, record.ttl_s, record.rtype) for record in answer.answer] == [(f"{WEB}.", 30, "A")]
    assert answer.size > 0


def test_dig_no_answer(port):
    """A port where nobody listens raises NoAnswerError with dig's words."""
    with pytest.raises(NoAnswerError, match="refused"):
        dig(WEB, "+time=1", port=port)


def test_early_end_is_told(cluster, tmp_path):
    """A nameserver that cannot start raises with the end of its log."""
    broken = nameservers.unbound(cluster, tmp_path, extra="  no-such-option: yes")
    with pytest.raises(RuntimeError, match="fatal error"), broken:
        pass
