"""Asks and answers for the tests of the state machines."""

from __future__ import annotations

from shardns.dns import message, names
from shardns.exchange.ask import Ask
from shardns.exchange.outcome import Outcome
from tests.fakes.nameserver import answer

__all__ = ["answer", "ask", "frame", "ids_of"]


def ask(name: str = "www.example.org.", now: float = 0.0) -> Ask:
    """An ask by TCP that nobody waits for."""

    def done(_: Outcome) -> None:
        """Nobody waits."""

    return Ask(message.query(names.to_wire(name), 1, id=0), True, done, now)


def frame(wire: bytes) -> bytes:
    """The message as it stands in a TCP stream."""
    return len(wire).to_bytes(2, "big") + wire


def ids_of(frames: list[bytes]) -> list[bytes]:
    """The ids of frames that a mux put out."""
    return [each[2:4] for each in frames]
