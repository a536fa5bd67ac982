"""Which datagram answers which query on one UDP socket. Pure: no socket, no clock.

Over UDP anybody can try to answer. The kernel keeps out all but the upstream's address and port (the socket is
connected); the id, the port and the whole question have to be guessed as well (RFC 5452 s.9). What does not match is
counted and ignored, and the wait goes on: one forged datagram must not end it.
"""

from __future__ import annotations

from shardns.exchange.ask import Ask
from shardns.exchange.ids import Ids
from shardns.exchange.reply import Verdict, judge

_IGNORED = (Verdict.WRONG_QUESTION, Verdict.MALFORMED)


class UdpMatch:
    """The asks of one socket; usually one."""

    __slots__ = ("_ids", "unknown_ids", "waiting", "wrong_questions")

    def __init__(self, ids: Ids) -> None:
        """ids may be shared by all sockets."""
        self._ids = ids
        self.waiting: dict[bytes, Ask] = {}
        self.unknown_ids = 0
        self.wrong_questions = 0

    def send(self, ask: Ask) -> bytes:
        """The datagram for an ask that waits from now on."""
        ident = self._ids.take(self.waiting)
        self.waiting[ident] = ask
        return ident + ask.query[2:]

    def receive(self, datagram: bytes) -> tuple[Ask, Verdict] | None:
        """The ask that this datagram answers, and how well; None when it answers none."""
        ident = datagram[:2]
        ask = self.waiting.get(ident)
        if ask is None:
            self.unknown_ids += 1
            return None
        verdict = judge(datagram, ask.question)
        if verdict in _IGNORED:
            self.wrong_questions += 1
            return None
        del self.waiting[ident]
        return ask, verdict
