"""Many queries on one TCP connection: frames, ids, and who waits for which answer. Pure: no socket, no clock.

RFC 7766: queries are sent without waiting for answers (s.6.2.1.1), answers come in any order (s.7), each message is
preceded by its length in two bytes (RFC 1035 s.4.2.2).

An ask that was sent is in one of two places until it is answered or the connection ends:

    send() -> waiting --- answered ----------------------------> returned by feed()
                 |
                 +-- overdue(): older than the patience --> late --- answered --> returned by feed()
                                                              |
                                                              +-- forget() --> id free again

`waiting` is kept in the order of sending (a dict is), so that the oldest ask is its first: no timer per query is
needed, only a look at the first one now and then. What is late is the pool's to ask again; its id stays taken here as
long as the answer may still come.
"""

from __future__ import annotations

from shardns.exchange.ask import Ask
from shardns.exchange.ids import Ids
from shardns.exchange.reply import HEADER_SIZE

MAX_ASKS = 16_384
"""Asks one connection takes: a quarter of the ids, so that a free one is found at once."""
_LENGTHS = tuple(n.to_bytes(2, "big") for n in range(513))


class TcpMux:
    """The asks of one connection."""

    __slots__ = ("_ids", "_tail", "broken", "heard", "late", "out", "progress", "unknown_ids", "waiting")

    def __init__(self, ids: Ids) -> None:
        """ids may be shared by all connections."""
        self._ids = ids
        self._tail = b""
        self.waiting: dict[bytes, Ask] = {}
        """By id, in the order of sending."""
        self.late: dict[bytes, tuple[Ask, float]] = {}
        """By id: asks that were asked elsewhere too or have a timer of their own, and when they were sent here."""
        self.out: list[bytes] = []
        """Frames to be written; the owner takes them."""
        self.heard = 0
        """Answers received."""
        self.progress = -1.0
        """When the youngest query that is known to be answered was sent: what is older and still waits is overtaken."""
        self.unknown_ids = 0
        self.broken = False
        """The peer's frames make no sense; nothing after that point can be read."""

    def __len__(self) -> int:
        """Ids that are taken."""
        return len(self.waiting) + len(self.late)

    def send(self, ask: Ask, now: float) -> None:
        """Give the ask an id and put its frame into `out`. The caller minds MAX_ASKS."""
        waiting = self.waiting
        ident = self._ids.take(waiting, self.late)
        waiting[ident] = ask
        ask.sent = now
        query = ask.query
        size = len(query)
        self.out.append((_LENGTHS[size] if size <= 512 else size.to_bytes(2, "big")) + ident + query[2:])

    def send_again(self, ask: Ask, now: float) -> None:
        """As send, for an ask whose timers are kept elsewhere: it is late from the start."""
        ident = self._ids.take(self.waiting, self.late)
        self.late[ident] = (ask, now)
        query = ask.query
        self.out.append(len(query).to_bytes(2, "big") + ident + query[2:])

    def feed(self, chunk: bytes) -> list[tuple[Ask, bytes, float]]:
        """The answers completed by these bytes of the stream: ask, message, and when that ask was sent here.

        Ids that nobody waits for are counted and skipped. A frame too short for a header sets `broken`.
        """
        data = self._tail + chunk if self._tail else chunk
        size = len(data)
        off = 0
        found: list[tuple[Ask, bytes, float]] = []
        pop = self.waiting.pop
        while off + 2 <= size:
            start = off + 2
            length = data[off] << 8 | data[off + 1]
            if length < HEADER_SIZE:
                self.broken = True
                break
            end = start + length
            if end > size:
                break
            ask = pop(data[start : start + 2], None)
            if ask is not None:
                found.append((ask, data[start:end], ask.sent))
            else:
                self._feed_late(data[start:end], found)
            off = end
        self._tail = data[off:]
        if found:
            self.heard += len(found)
            self.progress = max(self.progress, found[-1][2])
        return found

    def _feed_late(self, wire: bytes, found: list[tuple[Ask, bytes, float]]) -> None:
        """Match an answer whose id is not among those in time."""
        late = self.late.pop(wire[:2], None)
        if late is None:
            self.unknown_ids += 1
        else:
            found.append((late[0], wire, late[1]))

    def overdue(self, before: float) -> list[Ask]:
        """The asks sent at `before` or earlier, oldest first; they are late from now on."""
        found: list[Ask] = []
        for ident, ask in self.waiting.items():
            if ask.sent > before:
                break
            self.late[ident] = (ask, ask.sent)
            found.append(ask)
        for ident in list(self.waiting)[: len(found)]:
            del self.waiting[ident]
        return found

    def oldest(self) -> float | None:
        """When the first waiting ask was sent; None when none waits."""
        for ask in self.waiting.values():
            return ask.sent
        return None

    def oldest_late(self) -> float | None:
        """When the first of the late asks was sent here, about; None when there is none."""
        for _, sent in self.late.values():
            return sent
        return None

    def forget(self, before: float) -> list[Ask]:
        """Give up the late asks sent at `before` or earlier: their ids are free again."""
        idents = [ident for ident, (_, sent) in self.late.items() if sent <= before]
        return [self.late.pop(ident)[0] for ident in idents]

    def abandon(self) -> list[Ask]:
        """All asks that now wait for nothing here, oldest first: the connection is gone."""
        asks = [ask for ask, _ in self.late.values()]
        asks.extend(self.waiting.values())
        self.late.clear()
        self.waiting.clear()
        self.out.clear()
        return asks
