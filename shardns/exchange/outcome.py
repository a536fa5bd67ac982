"""What became of one query: an answer, or why there is none."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import Enum


class Failure(Enum):
    """Why a query has no answer. The value is the word for logs and metrics."""

    TIMEOUT = "timeout"  # asked, and nothing usable came in time
    REFUSED_CONNECT = "refused_connect"  # no connection to any upstream could be made
    ALL_DOWN = "all_down"  # every upstream is down and the pool is to fail fast
    MAX_CONCURRENT = "max_concurrent"  # too many queries wait already; the client gets REFUSED
    MALFORMED = "malformed"  # an answer came that is none: unparsable, or for another question
    CLOSED = "closed"  # connections kept closing under the query, or the pool was closed


@dataclass(slots=True)
class Outcome:
    """The end of one query."""

    wire: bytes | None
    """The answer as the upstream sent it, with any id; None when failure says why not."""
    upstream: str
    """The label of the upstream that answered, or was asked last; "" when none was."""
    failure: Failure | None = None
    detail: str = ""
    """The error as CoreDNS's `errors` plugin prints it; "" for an answer."""
    rtt_s: float = 0.0
    """Seconds from the sending that was answered to its answer."""


NO_HEALTHY = "no healthy proxies"  # CoreDNS plugin/pkg/proxy/errors.go
CLOSED_BY_PEER = "EOF"  # Go's io.EOF
WRONG_QUESTION = "dns: answer is for another question"
UNPARSABLE = "dns: overflow unpacking message"
POOL_CLOSED = "proxy: transport stopped"  # CoreDNS plugin/pkg/proxy/connect.go


def limit_text(limit: int) -> str:
    """CoreDNS's words for a query over max_concurrent."""
    return f"concurrent queries exceeded maximum {limit}"


def errno_text(code: int) -> str:
    """The words Go has for an errno: the C library's in lower case ("connection refused")."""
    return os.strerror(code).lower()


def dial_text(proto: str, label: str, code: int) -> str:
    """Go's net.OpError of a failed dial; ETIMEDOUT stands for our own limit too."""
    if code == errno.ETIMEDOUT:
        return f"dial {proto} {label}: i/o timeout"
    return f"dial {proto} {label}: connect: {errno_text(code)}"


def read_text(proto: str, local: str, label: str, code: int) -> str:
    """Go's net.OpError of a failed read; code 0 is our own time-out."""
    if code == 0:
        return f"read {proto} {local}->{label}: i/o timeout"
    return f"read {proto} {local}->{label}: read: {errno_text(code)}"
