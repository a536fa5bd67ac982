"""Where it listens, and from which address it answers; and glibc's resolver as the client."""

import socket

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, nameservers, netns, wire
from tests.peers.client import ask
from tests.peers.dig import dig

WEB = "web.default.svc.cluster.local"
EVERYWHERE = program.STOCK.replace("    bind 127.0.0.1\n", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "127.8.9.10", "::1"])
def test_wildcard(everywhere, host):
    """Without bind every address is served; each reply, of miss or hit, comes from the address that was asked."""
    made, server = everywhere
    name = f"{host.replace(':', 'x').replace('.', '-')}.example.org"
    for _ in range(3):
        reply = wire.send(made.port, wire.query(name), host=host)  # a connected socket takes no other source address
        assert reply is not None
        assert reply.endswith(fake.address_of(wire.name(name)))
    assert ask(name, port=made.port, host=host, tcp=True).answer
    assert server.names[wire.name(name)] == 1


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory):
    """A shardns that listens on every address, and the fake behind it."""
    with fake.nameserver() as server:
        home = tmp_path_factory.mktemp("everywhere")
        with program.shardns(home, EVERYWHERE, upstream=f"127.0.0.1:{server.port}") as made:
            yield made, server


def test_bind(launch, kube_dns):
    """bind serves the addresses it names, of both families, and no other; an interface's name stands for all of its."""
    text = program.STOCK.replace("bind 127.0.0.1", "bind 127.0.0.3 ::1")
    made = launch(text, upstream=f"127.0.0.1:{kube_dns.port}")
    for host in ("127.0.0.3", "::1"):
        for how in ("+notcp", "+tcp"):
            assert dig(WEB, how, port=made.port, host=host).data() == ["10.96.10.1"]
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.4", made.port)) != 0
    requests = made.scrape().labels("coredns_dns_requests_total")
    assert {(one["server"], one["family"]) for one in requests} == {
        (f"dns://127.0.0.3:{made.port}", "1"),
        (f"dns://[::1]:{made.port}", "2"),
    }
    made = launch(program.STOCK.replace("bind 127.0.0.1", "bind lo"), upstream=f"127.0.0.1:{kube_dns.port}")
    assert dig(WEB, port=made.port).data() == ["10.96.10.1"]


def test_blocks_on_their_own_ports(launch, kube_dns, port):
    """Server blocks may have ports of their own; the same zone on two ports is two servers."""
    text = program.STOCK + f"cluster.local:{port} {{\n bind 127.0.0.1\n forward . UPSTREAM\n}}\n"
    made = launch(text, upstream=f"127.0.0.1:{kube_dns.port}")
    assert dig(WEB, port=port).data() == ["10.96.10.1"]
    assert dig("www.example.org", port=port).status == "REFUSED"
    assert dig("www.example.org", port=made.port).status == "NOERROR"


@pytest.mark.netns
def test_source_address_on_links(launch, new_namespace):
    """On a host with several addresses on one link the reply comes from the one that was asked."""
    pod, node = new_namespace("pod"), new_namespace("node")
    netns.join(pod, "192.0.2.1/24", node, "192.0.2.2/24")
    for address in ("192.0.2.3/32", "192.0.2.4/32"):
        node.add_address(address, node.links[0])
    with netns.entered(node), fake.nameserver() as server:
        made = launch(EVERYWHERE, upstream=f"127.0.0.1:{server.port}")
        with netns.entered(pod):
            for host in ("192.0.2.2", "192.0.2.3", "192.0.2.4"):
                for _ in range(2):
                    reply = wire.send(made.port, wire.query(f"{host}.example.org"), host=host)
                    assert reply is not None
                assert ask(f"{host}.example.org", port=made.port, host=host, tcp=True).answer
        made.stop()


@pytest.fixture(scope="module")
def pod(cluster, tmp_path_factory):
    """A namespace whose resolv.conf names a shardns on port 53, with the search list of a pod, unbound behind it."""
    if why := netns.can_make():
        pytest.skip(why)
    home = tmp_path_factory.mktemp("pod")
    with netns.namespace("pod") as made, netns.entered(made), nameservers.unbound(cluster, home) as server:
        for address in ("192.0.2.1/32", "2001:db8::1/128"):
            made.add_address(address)  # without one of a family glibc does not ask for it (AI_ADDRCONFIG)
        made.write_etc(
            "resolv.conf",
            "nameserver 127.0.0.1\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
        )
        made.write_etc("nsswitch.conf", "hosts: dns\n")
        with program.shardns(home, upstream=f"127.0.0.1:{server.port}", port=53):
            yield made


@pytest.mark.netns
@pytest.mark.parametrize(
    "database, name, wanted",
    [
        ("ahostsv4", "web", {"10.96.10.1"}),
        ("ahosts", "web.default", {"10.96.10.1", "fd00:10:96::a01"}),
        ("ahosts", "web.default.svc.cluster.local.", {"10.96.10.1", "fd00:10:96::a01"}),
        ("ahostsv4", "db", {"10.244.1.10", "10.244.2.10", "10.244.3.10"}),
        ("hosts", "10.96.10.1", {"10.96.10.1"}),
        ("ahostsv6", "www.example.org", {"2001:db8::80"}),
        ("ahostsv4", "www.example.org", {"192.0.2.80"}),
        ("ahosts", "missing", set()),
    ],
)
def test_glibc(pod, database, name, wanted):
    """glibc's resolver finds what a pod's does, over the search list; first from unbound, then from the cache."""
    for _ in range(2):
        found = pod.run("getent", database, name, check=False)
        assert {line.split()[0] for line in found.stdout.splitlines()} == wanted
        if database == "hosts":
            assert WEB in found.stdout


@pytest.mark.netns
def test_glibc_by_tcp(pod):
    """An answer that UDP cannot hold reaches glibc, which asks again by TCP."""
    found = pod.run("getent", "ahostsv4", "big")
    assert len({line.split()[0] for line in found.stdout.splitlines()}) == 100
