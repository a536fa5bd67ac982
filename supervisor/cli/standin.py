"""A small cluster's DNS, served on loopback: what stands for kube-dns in `shardns demo` and in tests.

Never part of a node's service. It runs as a process of its own that ends with its parent, so that whoever starts it
stays free of threads (the supervisor forks). dnslib's own server closes a TCP connection after one answer; kube-dns
keeps it, and so does this one.

    python -m supervisor.cli.standin 127.0.0.1 5300     serves until its standard input ends
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

from shardns.dns.zone import Zone
from shardns.errors import Malformed

IDLE_S = 10.0  # seconds a TCP client may say nothing; CoreDNS 1.13.2 core/dnsserver/server.go uses the same
MAX_CLIENTS = 64  # TCP connections held at once; more are closed at once
READY_S = 10.0  # seconds the child may take until it serves
LARGE_SET = 100  # addresses of big.default.svc: 1,600 bytes of records, more than 1,232 by UDP

SYNTHETIC = ("example.org.",)
_LENGTH = struct.Struct("!H")  # before each message on TCP (RFC 1035 s.4.2.2)

_FIXED = """
$TTL 30
cluster.local. SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30
cluster.local. NS ns.dns.cluster.local.
ns.dns.cluster.local. A 10.96.0.10
dns-version.cluster.local. TXT "1.1.0"

kubernetes.default.svc.cluster.local. A 10.96.0.1
_https._tcp.kubernetes.default.svc.cluster.local. SRV 0 100 443 kubernetes.default.svc.cluster.local.
kube-dns.kube-system.svc.cluster.local. A 10.96.0.10
_dns._udp.kube-dns.kube-system.svc.cluster.local. SRV 0 100 53 kube-dns.kube-system.svc.cluster.local.
_dns-tcp._tcp.kube-dns.kube-system.svc.cluster.local. SRV 0 100 53 kube-dns.kube-system.svc.cluster.local.

web.default.svc.cluster.local. A 10.96.10.1
web.default.svc.cluster.local. AAAA fd00:10:96::a01
_http._tcp.web.default.svc.cluster.local. SRV 0 100 80 web.default.svc.cluster.local.
api.default.svc.cluster.local. A 10.96.10.2
_grpc._tcp.api.default.svc.cluster.local. SRV 0 100 9000 api.default.svc.cluster.local.

db.default.svc.cluster.local. A 10.244.1.10
db.default.svc.cluster.local. A 10.244.2.10
db.default.svc.cluster.local. A 10.244.3.10
db-0.db.default.svc.cluster.local. A 10.244.1.10
db-1.db.default.svc.cluster.local. A 10.244.2.10
db-2.db.default.svc.cluster.local. A 10.244.3.10
_sql._tcp.db.default.svc.cluster.local. SRV 0 33 5432 db-0.db.default.svc.cluster.local.
_sql._tcp.db.default.svc.cluster.local. SRV 0 33 5432 db-1.db.default.svc.cluster.local.
_sql._tcp.db.default.svc.cluster.local. SRV 0 33 5432 db-2.db.default.svc.cluster.local.
10-244-1-10.default.pod.cluster.local. A 10.244.1.10

shop.default.svc.cluster.local. CNAME www.example.org.

in-addr.arpa. SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1 7200 1800 86400 30
1.0.96.10.in-addr.arpa. PTR kubernetes.default.svc.cluster.local.
10.0.96.10.in-addr.arpa. PTR kube-dns.kube-system.svc.cluster.local.
1.10.96.10.in-addr.arpa. PTR web.default.svc.cluster.local.
2.10.96.10.in-addr.arpa. PTR api.default.svc.cluster.local.
10.1.244.10.in-addr.arpa. PTR db-0.db.default.svc.cluster.local.
10.2.244.10.in-addr.arpa. PTR db-1.db.default.svc.cluster.local.
10.3.244.10.in-addr.arpa. PTR db-2.db.default.svc.cluster.local.

$TTL 300
example.org. SOA ns.example.org. hostmaster.example.org. 1 7200 1800 86400 60
example.org. A 192.0.2.1
example.org. MX 10 mail.example.org.
www.example.org. A 192.0.2.80
www.example.org. AAAA 2001:db8::80
"""


def records() -> str:
    """The cluster as zone-file text, one record a line with its whole name: any nameserver can be given it."""
    large = [f"big.default.svc.cluster.local. 30 IN A 10.245.{n // 250}.{n % 250 + 1}" for n in range(LARGE_SET)]
    long = " ".join(f'"{"0123456789abcdef" * 15}"' for _ in range(6))
    large.append(f"long.default.svc.cluster.local. 30 IN TXT {long}")
    return "\n".join([*_lines(), *large, ""])


def _lines() -> Iterator[str]:
    """The lines of _FIXED, each with its TTL and class written out."""
    ttl_s = ""
    for line in filter(None, _FIXED.splitlines()):
        if line.startswith("$TTL"):
            ttl_s = line.split()[1]
            continue
        owner, rest = line.split(maxsplit=1)
        yield f"{owner} {ttl_s} IN {rest}"


@contextlib.contextmanager
def serve(host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """The address and port at which a process of its own answers for the cluster, by UDP and TCP, until the end.

    Port 0 takes one that is free for both. Raises OSError when it cannot listen there or is not ready in READY_S.
    """
    command = [sys.executable, "-m", "supervisor.cli.standin", host, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as child:
        try:
            yield host, _ready_port(child)
        finally:
            child.kill()


def _ready_port(child: subprocess.Popen[bytes]) -> int:
    """The port the child says it listens on."""
    assert child.stdout is not None
    readable, _, _ = select.select([child.stdout], [], [], READY_S)
    line = child.stdout.readline() if readable else b""
    if not line.startswith(b"ready "):
        raise OSError(line.decode().strip() or f"the stand-in for kube-dns was not ready within {READY_S:.0f} s")
    return int(line.split()[1])


class _Udp(socketserver.BaseRequestHandler):
    """One datagram in, one out; silence for what is not a query."""

    server: _UdpServer

    def handle(self) -> None:
        query, sock = self.request
        with contextlib.suppress(Malformed, OSError):
            sock.sendto(self.server.zone.answer(query, over_tcp=False), self.client_address)


class _Tcp(socketserver.StreamRequestHandler):
    """A connection that is kept for any number of queries (RFC 7766 s.6.2.1), answered in the order they came."""

    server: _TcpServer
    timeout = IDLE_S

    def handle(self) -> None:
        if not self.server.places.acquire(blocking=False):
            return
        try:
            self._answer_all()
        except (Malformed, OSError):
            return
        finally:
            self.server.places.release()

    def _answer_all(self) -> None:
        """Nothing, once the client closes. Raises TimeoutError when it is idle, Malformed for what is not a query."""
        while len(head := self.rfile.read(_LENGTH.size)) == _LENGTH.size:
            query = self.rfile.read(_LENGTH.unpack(head)[0])
            answer = self.server.zone.answer(query, over_tcp=True)
            self.wfile.write(_LENGTH.pack(len(answer)) + answer)


class _UdpServer(socketserver.UDPServer):
    """Answers one datagram after another: an answer takes less time than a thread would to start."""

    max_packet_size = 65535

    def __init__(self, sock: socket.socket, zone: Zone) -> None:
        super().__init__(sock.getsockname()[:2], _Udp, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.zone = zone


class _TcpServer(socketserver.ThreadingTCPServer):
    """A thread for each connection, MAX_CLIENTS of them at most; connections above that are closed unanswered."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sock: socket.socket, zone: Zone) -> None:
        super().__init__(sock.getsockname()[:2], _Tcp, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.zone = zone
        self.places = threading.BoundedSemaphore(MAX_CLIENTS)
        self.socket.listen(self.request_queue_size)


def _sockets(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket bound to the same port of host. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(16):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind((host, port))
            udp.bind(tcp.getsockname()[:2])
        except OSError:
            tcp.close()
            udp.close()
            if port:
                raise
        else:
            return udp, tcp
    raise OSError(f"no port of {host} is free for both UDP and TCP")


def _main() -> int:
    """Serve until standard input ends. Prints one line: "ready PORT", or why not."""
    host, port = sys.argv[1], int(sys.argv[2])
    try:
        udp, tcp = _sockets(host, port)
    except OSError as error:
        print(f"cannot listen on {host} port {port}: {error.strerror or error}", flush=True)
        return 1
    zone = Zone(records(), synthetic=SYNTHETIC)
    for server in (_UdpServer(udp, zone), _TcpServer(tcp, zone)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {udp.getsockname()[1]}", flush=True)
    while os.read(0, 4096):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(_main())
