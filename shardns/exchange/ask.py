"""One query on its way: what it asks, who waits for it, and, for the few that need it, what went wrong so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shardns.exchange.outcome import Failure, Outcome
from shardns.exchange.reply import question_of

ASK_LIMIT_S = 4.0
"""Seconds a query may take in all: below the 5 s after which a stub resolver asks again (resolv.conf(5))."""
RETRY_AT_S = (1.2, 2.4)
"""Seconds after its start at which a query without an answer is asked again."""
MAX_SENDINGS = 4
"""Times one query is sent at most because answers do not come."""
MAX_CLOSINGS = 8
"""Connections that may die under one query. Nameservers that close after a number of queries (CoreDNS before 1.10.1:
128) need several for a burst; a connection that dies without one answer counts as a failed dial as well."""


class Place(Protocol):
    """A connection or socket that an ask was sent on."""

    def timeout_text(self) -> str:
        """The error for an answer that did not come: "read tcp 127.0.0.1:4242->10.0.0.1:53: i/o timeout"."""


class Ask:
    """One query on its way. There are many: it carries only what a query that goes well needs."""

    __slots__ = ("by_tcp", "done", "query", "question", "sent", "started", "trouble")

    def __init__(self, query: bytes, by_tcp: bool, done: Callable[[Outcome], None], now: float) -> None:
        """Take a whole message, and how to send it; done is called exactly once."""
        self.query = query
        # Without additional records the question is all there is behind the header: no need to walk its labels.
        self.question = query[12:] if query[10:12] == b"\0\0" else question_of(query)
        self.by_tcp = by_tcp
        self.done = done
        self.started = now
        self.sent = now
        self.trouble: Trouble | None = None

    def troubled(self) -> Trouble:
        """The record of what went wrong, made on first use."""
        if self.trouble is None:
            self.trouble = Trouble()
        return self.trouble


class Trouble:
    """What went wrong with one ask so far."""

    __slots__ = (
        "answered_at",
        "closings",
        "detail",
        "failed",
        "failure",
        "finished",
        "label",
        "malformed",
        "pinned",
        "place",
        "places",
        "sendings",
        "stage",
    )

    def __init__(self) -> None:
        self.place: Place | None = None
        """Where it was sent last, if that is known."""
        self.places = 1
        """Where an answer may still come from: connections, sockets and queues for a dial."""
        self.sendings = 1
        self.closings = 0
        self.failed = 0
        """Bit i is set when upstream i could not be reached for this ask."""
        self.stage = 0
        """How many of its own timers have fired: the hedge, then those of RETRY_AT_S."""
        self.malformed = False
        """Whether one unparsable answer came; a second one ends the ask."""
        self.pinned = False
        """A health check: it goes to its upstream or nowhere and is never repeated."""
        self.finished = False
        self.answered_at = 0.0
        """When the first answer to it came by TCP; 0 before."""
        self.failure = Failure.TIMEOUT
        self.detail = ""
        self.label = ""
        """The last error, in the words of CoreDNS, and the upstream it is of."""
