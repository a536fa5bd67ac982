"""Listening sockets, on real addresses of this machine."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardns.errors import ConfigError
from supervisor.sockets import UDP_BUFFER_BYTES, DnsSockets, Places, unix_listener

HAS_IPV6 = Path("/proc/net/if_inet6").exists() and "lo" in Path("/proc/net/if_inet6").read_text()


@pytest.fixture
def sockets() -> Iterator[DnsSockets]:
    """For two workers."""
    opened = DnsSockets(2)
    yield opened
    opened.keep_only(())


def test_one_of_each_kind_per_worker(sockets, port):
    """Two workers have two UDP and two TCP sockets on one address, non-blocking, the TCP ones listening."""
    assert sockets.open([("127.0.0.1", port)]) == [("127.0.0.1", port)]
    udp, tcp = sockets.udp({5: ("127.0.0.1", port)}), sockets.tcp({5: ("127.0.0.1", port)})
    assert sorted(udp) == sorted(tcp) == [(5, 0), (5, 1)]
    for sock in (*udp.values(), *tcp.values()):
        assert sock.getsockname() == ("127.0.0.1", port)
        assert not sock.getblocking()
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in tcp.values())


def test_both_workers_get_queries(sockets, port):
    """The kernel spreads clients over the sockets of an address."""
    sockets.open([("127.0.0.1", port)])
    both = sockets.udp({0: ("127.0.0.1", port)}).values()
    for _ in range(64):
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"?", ("127.0.0.1", port))
    counts = []
    for sock in both:
        counts.append(0)
        try:
            while sock.recv(16):
                counts[-1] += 1
        except BlockingIOError:
            pass
    assert sum(counts) == 64
    assert min(counts) > 0


def test_receive_buffer_is_large(sockets, port):
    """As large as root may make it; the kernel counts it twice (socket(7))."""
    sockets.open([("127.0.0.1", port)])
    (sock, *_) = sockets.udp({0: ("127.0.0.1", port)}).values()
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    assert size >= 2 * min(UDP_BUFFER_BYTES, limit)


def test_opening_again_opens_nothing(sockets, port):
    """An address that stays over a reload keeps its sockets."""
    address = ("127.0.0.1", port)
    sockets.open([address])
    before = dict(sockets.udp({0: address}))
    assert sockets.open([address]) == []
    assert dict(sockets.udp({0: address})) == before


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_wildcard_serves_both_families(sockets, port, host):
    """Any way to write all addresses means both families, as in Go, and says where a datagram came to."""
    sockets.open([(host, port)])
    both = list(sockets.udp({0: (host, port)}).values())
    for family, target in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"?", (target, port))
        (got,) = [received for sock in both if (received := _receive(sock))]
        assert got.endswith(socket.inet_pton(family, target))


def _receive(sock: socket.socket) -> bytes:
    """The address in the packet information of one datagram; empty if there is none."""
    try:
        _, ancillary, _, _ = sock.recvmsg(16, 256)
    except BlockingIOError:
        return b""
    ((_, kind, octets),) = ancillary
    assert kind == socket.IPV6_PKTINFO
    return octets[:16]


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_ipv6_address_is_ipv6_only(sockets, port):
    """::1 and 127.0.0.1 are listeners of their own on one port."""
    sockets.open([("::1", port), ("127.0.0.1", port)])


@pytest.mark.parametrize(
    "address, words, hint",
    [
        (("192.0.2.1", 53), "cannot listen on 192.0.2.1:53: Cannot assign requested address", "no interface has"),
        (("2001:db8::1", 53), "cannot listen on [2001:db8::1]:53: Cannot assign requested address", "no interface"),
    ],
)
def test_foreign_address(sockets, address, words, hint):
    """An address that is not ours is named, with the remedy."""
    if ":" in address[0] and not HAS_IPV6:
        pytest.skip("no IPv6 here")
    with pytest.raises(ConfigError) as caught:
        sockets.open([address])
    assert caught.value.message == words
    assert hint in caught.value.hint


def test_failure_leaves_nothing_open(sockets, port):
    """When one address of several cannot be had, the others are given back."""
    with pytest.raises(ConfigError):
        sockets.open([("127.0.0.1", port), ("192.0.2.1", port)])
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not HAS_IPV6, reason="no IPv6"))]
)
def test_leave(sockets, port, host):
    """Who leaves gets no further query: the other instance does. What waited can be read, and answers can be sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets.open([(host, port)])
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.bind((host, 0))
        client.sendto(b"before", (host, port))
        other = DnsSockets(1)
        other.open([(host, port)])
        sockets.leave()
        sockets.leave()
        for _ in range(64):
            with socket.socket(family, socket.SOCK_DGRAM) as later:
                later.sendto(b"after", (host, port))
        (theirs,) = other.udp({0: (host, port)}).values()
        assert [theirs.recv(16) for _ in range(64)] == [b"after"] * 64
        waiting = []
        for sock in sockets.udp({0: (host, port)}).values():
            try:
                while True:
                    waiting.append(sock.recvfrom(16))
                    sock.sendto(b"answer", waiting[-1][1])
            except BlockingIOError:
                pass
        assert waiting == [(b"before", client.getsockname())]
        assert client.recv(16) == b"answer"
        other.keep_only(())


def test_keep_only_closes_the_others(sockets, port):
    """What no Plan names any more is closed."""
    sockets.open([("127.0.0.1", port), ("127.0.0.2", port)])
    assert sockets.keep_only([("127.0.0.2", port)]) == [("127.0.0.1", port)]
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))


@pytest.fixture
def http() -> Iterator[Places]:
    """None open."""
    opened = Places("")
    yield opened
    opened.keep_only(())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_http_listens(http, port, host):
    """An address, a name or nothing before the port."""
    assert http.open([f"{host}:{port}"]) == {}
    with socket.create_connection(("127.0.0.1", port)):
        pass


def test_two_instances_share_an_http_port(http, port):
    """SO_REUSEPORT: another instance of this program does not make the port busy."""
    other = Places("")
    assert http.open([f"127.0.0.1:{port}"]) == {}
    assert other.open([f"127.0.0.1:{port}"]) == {}
    assert other.keep_only(()) == [f"127.0.0.1:{port}"]


def test_busy_http_port_is_told_and_can_be_tried_again(http, port):
    """Another program's port is no exception but an answer; later it can be had."""
    with socket.create_server(("127.0.0.1", port)):
        assert http.open([f"127.0.0.1:{port}"]) == {f"127.0.0.1:{port}": "Address already in use"}
    assert http.open([f"127.0.0.1:{port}"]) == {}


def test_operator_socket_is_a_place(tmp_path, port):
    """A name that is taken is told and can be had later; closed, a path is gone, and the HTTP port beside it stays."""
    path, http = str(tmp_path / "control"), f"127.0.0.1:{port}"
    places = Places(path)
    with unix_listener(path):
        assert places.open([path, http]) == {path: "another program listens there"}
    assert places.open([path, http]) == {}
    assert places.keep_only([http]) == [path]
    assert not Path(path).exists()
    assert places.keep_only(()) == [http]


def test_unix_listener_by_path(tmp_path):
    """The socket at a path is for our user alone; one left by a killed process is replaced, a live one is not."""
    path = str(tmp_path / "control")
    first = unix_listener(path)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    with pytest.raises(OSError, match="another program listens there"):
        unix_listener(path)
    first.close()
    unix_listener(path).close()


def test_unix_listener_without_a_file():
    """@name is in the abstract namespace, and no name is one that the kernel chooses."""
    name = f"@shardns-test/{os.getpid()}"
    with unix_listener(name) as named, unix_listener("") as unnamed:
        assert named.getsockname() == b"\0" + name[1:].encode()
        assert unnamed.getsockname().startswith(b"\0")
        with pytest.raises(OSError, match="in use"):
            unix_listener(name)


def test_an_address_that_is_not_there_yet(port):
    """An address that the supervisor sees to can be listened on before an interface has it; any other cannot."""
    address = ("192.0.2.77", port)
    with pytest.raises(ConfigError, match="cannot listen on 192.0.2.77"):
        DnsSockets(1).open([address])
    sockets = DnsSockets(1, ours=[address[0], "2001:db8::77"])
    assert sockets.open([address, ("2001:db8::77", address[1])])
    sockets.keep_only(())
