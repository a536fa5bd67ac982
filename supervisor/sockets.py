"""The listening sockets: opened here, inherited by every child, held for life.

Each listen address has one UDP and one TCP socket per worker index, all in one SO_REUSEPORT group: the kernel spreads
clients over them. A worker that is killed leaves its queue in the kernel for the next one of the same index.

A wildcard address is one IPv6 socket for both families, as Go (and so CoreDNS) makes it of "", "0.0.0.0" and "::",
and an IPv4 socket where the kernel has no IPv6.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from shardns.errors import ConfigError

UDP_BUFFER_BYTES = 4 * 1024 * 1024  # a second of bursts while a worker is restarted
TCP_BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
WILDCARDS = frozenset(["", "0.0.0.0", "::"])

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_IP_PKTINFO = 8  # linux/in.h
_IP_FREEBIND = 15
_DISCARD = 9  # RFC 863

Address = tuple[str, int]
Sockets = Mapping[tuple[int, int], socket.socket]


class DnsSockets:
    """The sockets of every listen address in use, by address and worker index."""

    def __init__(self, workers: int, ours: Collection[str] = ()) -> None:
        """workers: sockets of each kind per address; ours: hosts that may be bound before an interface has them."""
        self.workers = workers
        self._ours = frozenset(ours)
        self._open: dict[Address, tuple[list[socket.socket], list[socket.socket]]] = {}

    def open(self, addresses: Iterable[Address]) -> list[Address]:
        """Open what is not open yet; returns what was opened.

        Raises ConfigError that names the address and the remedy; nothing is open then that was not before.
        """
        opened: list[Address] = []
        for address in addresses:
            if address in self._open:
                continue
            try:
                self._open[address] = _dns_sockets(address, self.workers, is_ours=address[0] in self._ours)
            except OSError as error:
                self.close(opened)
                raise ConfigError(
                    None, f"cannot listen on {shown(address)}: {error.strerror}", hint=remedy(error)
                ) from None
            opened.append(address)
        return opened

    def close(self, addresses: Iterable[Address]) -> None:
        """Close every socket of these."""
        for address in addresses:
            udp, tcp = self._open.pop(address)
            for sock in (*udp, *tcp):
                sock.close()

    def leave(self) -> None:
        """Let no further UDP query come in; what waits in the sockets can still be read, and answers sent from them.

        Where another instance has sockets on the same address, all new queries are its own from here on. The kernel
        chooses among the unconnected sockets of a SO_REUSEPORT group only (since Linux 5.4), so ours are connected, to
        a port from which nothing comes. Without this, what arrives between the last look of a worker and the end of
        the supervisor would be lost: some 10 ms. Wildcard sockets stay; a connection would choose an address for them.
        """
        for (host, _), (udp, _) in self._open.items():
            if host not in WILDCARDS:
                for sock in udp:
                    with suppress(OSError):  # the address is on no interface (any more): nothing comes to it either
                        sock.connect((host, _DISCARD))

    def keep_only(self, addresses: Collection[Address]) -> list[Address]:
        """Close those of every other address; returns what was closed."""
        gone = [address for address in self._open if address not in addresses]
        self.close(gone)
        return gone

    def udp(self, listeners: Mapping[int, Address]) -> Sockets:
        """By listener index and worker index."""
        return {(n, w): sock for n, address in listeners.items() for w, sock in enumerate(self._open[address][0])}

    def tcp(self, listeners: Mapping[int, Address]) -> Sockets:
        """By listener index and worker index."""
        return {(n, w): sock for n, address in listeners.items() for w, sock in enumerate(self._open[address][1])}


class Places:
    """Listening sockets for health, readiness and metrics, and the operator's. A busy one costs its page, never DNS."""

    def __init__(self, operator: str) -> None:
        """None is open. operator: the key that is the name of a Unix socket; the others are HTTP's, "host:port"."""
        self.open_sockets: dict[str, socket.socket] = {}
        self._operator = operator

    def open(self, keys: Iterable[str]) -> dict[str, str]:
        """Open what is not open yet; returns what cannot be had now, with the reason."""
        busy: dict[str, str] = {}
        for key in keys:
            if key in self.open_sockets:
                continue
            try:
                self.open_sockets[key] = unix_listener(key) if key == self._operator else _http_socket(key)
            except OSError as error:
                busy[key] = error.strerror or str(error)
        return busy

    def keep_only(self, keys: Collection[str]) -> list[str]:
        """Close the others; returns what was closed."""
        gone = [key for key in self.open_sockets if key not in keys]
        for key in gone:
            self.open_sockets.pop(key).close()
            if key == self._operator and not key.startswith("@"):
                Path(key).unlink(missing_ok=True)
        return gone


def shown(address: Address) -> str:
    """host:port, as an operator writes it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unix_listener(name: str) -> socket.socket:
    """A listening Unix stream socket at a path, at "@name" in the abstract namespace, or at any free name if empty.

    A socket that a killed supervisor left at the path is replaced; one that somebody listens on is not. The path is
    for our user alone. Raises OSError.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if not name or name.startswith("@"):
            sock.bind(b"\0" + name[1:].encode() if name else b"")
        else:
            _bind_path(sock, name)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_path(sock: socket.socket, path: str) -> None:
    """Bind to path, with a mode that lets in our user only."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:  # nobody behind it
            Path(path).unlink()
        except OSError:
            pass
        else:
            raise OSError(errno.EADDRINUSE, "another program listens there")
    before = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(before)


def _dns_sockets(address: Address, workers: int, *, is_ours: bool) -> tuple[list[socket.socket], list[socket.socket]]:
    """UDP and TCP sockets of one address. Raises OSError, with none left open.

    is_ours  the supervisor sees to it that an interface has the address. While it cannot, DNS goes on at the others,
             and here as soon as somebody adds it (IP_FREEBIND, which takes no privilege).
    """
    udp: list[socket.socket] = []
    tcp: list[socket.socket] = []
    try:
        for _ in range(workers):
            udp.append(_bound(address, socket.SOCK_DGRAM, is_ours=is_ours))
            tcp.append(_bound(address, socket.SOCK_STREAM, is_ours=is_ours))
        for sock in udp:
            _enlarge(sock)
            if address[0] in WILDCARDS:
                _tell_destination(sock)
        for sock in tcp:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what accept() gives inherits it
            sock.listen(TCP_BACKLOG)
    except OSError:
        for sock in (*udp, *tcp):
            sock.close()
        raise
    return udp, tcp


def _bound(address: Address, kind: int, *, is_ours: bool = False) -> socket.socket:
    """A non-blocking socket bound to address, even if no interface has it when it is_ours. Raises OSError."""
    host, port = address
    if host in WILDCARDS:
        try:
            return _bind(socket.AF_INET6, kind, ("::", port))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            return _bind(socket.AF_INET, kind, ("0.0.0.0", port))
    family, _, _, _, sockaddr = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)[0]
    return _bind(family, kind, sockaddr, is_ours=is_ours)


def _bind(family: int, kind: int, sockaddr: tuple[object, ...], *, is_ours: bool = False) -> socket.socket:
    """A non-blocking socket that shares its address with its twins. Raises OSError."""
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ours:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)  # for IPv6 as well
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if sockaddr[0] == "::" else 1)
        sock.bind(sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


def _enlarge(sock: socket.socket) -> None:
    """As much receive buffer as we may have: above net.core.rmem_max with CAP_NET_ADMIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, UDP_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)


def _tell_destination(sock: socket.socket) -> None:
    """Have the kernel say with each datagram which of our addresses it came to: the answer leaves from there."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)  # covers mapped IPv4 too
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _http_socket(key: str) -> socket.socket:
    """A listening socket for "host:port", ":port", "name:port" or "[v6]:port". Raises OSError."""
    host, _, port = key.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host not in WILDCARDS:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # Go prefers IPv4 for a name
        host = str(found[0][4][0])
    sock = _bound((host, int(port)), socket.SOCK_STREAM)
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.listen(128)
    except OSError:  # another program's listener, which did not mind the bind
        sock.close()
        raise
    return sock


def remedy(error: OSError) -> str:
    """What an operator can do about it; empty where that is not known."""
    return {
        errno.EADDRINUSE: "another program holds it (`ss -lunpt` shows who): stop that one, or choose another port",
        errno.EADDRNOTAVAIL: "no interface has this address: add it, or take it out of bind",
        errno.EACCES: "a port below 1024 needs root or CAP_NET_BIND_SERVICE: or choose another with -dns.port",
        errno.EPERM: "this user may not do that: start as root",
        errno.EMFILE: "too many files are open: raise the limit (ulimit -n), or lower --workers",
    }.get(error.errno or 0, "")
