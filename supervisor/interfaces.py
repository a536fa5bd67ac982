"""The addresses of this machine, by network interface (getifaddrs(3))."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Mapping

_libc = ctypes.CDLL(None, use_errno=True)


class _Ifaddrs(ctypes.Structure):
    """struct ifaddrs up to the address."""


_Ifaddrs._fields_ = [
    ("next", ctypes.POINTER(_Ifaddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]
_libc.getifaddrs.argtypes = [ctypes.POINTER(ctypes.POINTER(_Ifaddrs))]
_libc.freeifaddrs.argtypes = [ctypes.POINTER(_Ifaddrs)]


def by_interface() -> Mapping[str, tuple[str, ...]]:
    """Every interface with its IPv4 and IPv6 addresses; a link-local one is written with its scope (fe80::1%eth0).

    Raises OSError when the kernel does not say.
    """
    first = ctypes.POINTER(_Ifaddrs)()
    if _libc.getifaddrs(ctypes.byref(first)) != 0:
        raise OSError(ctypes.get_errno(), "getifaddrs failed")
    found: dict[str, tuple[str, ...]] = {}
    try:
        at = first
        while at:  # type: ignore[truthy-bool]  # NULL is false
            name = at.contents.name.decode()
            addresses = found.setdefault(name, ())
            address = _text(at.contents.address, name)
            if address and address not in addresses:
                found[name] = (*addresses, address)
            at = at.contents.next
    finally:
        _libc.freeifaddrs(first)
    return found


def _text(address: int | None, interface: str) -> str:
    """A struct sockaddr as text; empty for families other than IP."""
    if not address:
        return ""
    family = int.from_bytes(ctypes.string_at(address, 2), "little" if _LITTLE else "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(family, ctypes.string_at(address + 4, 4))
    if family == socket.AF_INET6:
        octets = ctypes.string_at(address + 8, 16)
        text = socket.inet_ntop(family, octets)
        is_link_local = octets[0] == 0xFE and octets[1] & 0xC0 == 0x80
        return f"{text}%{interface}" if is_link_local else text
    return ""


_LITTLE = (1).to_bytes(2, "little") == bytes(ctypes.c_uint16(1))
