"""What the state machine of generation.py asks the loop to do, and how both name a process."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from shardns.role import Word

UPSTREAM = -1  # the upstream process's seat; a worker's is its index


@dataclass(frozen=True, slots=True, order=True)
class Child:
    """One process. life differs for every process that was ever started; generation and seat say what it does."""

    generation: int
    seat: int
    life: int

    @property
    def role(self) -> str:
        """The word for it in logs."""
        return "upstream" if self.seat == UPSTREAM else "worker"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Fork this child. It must be reported by exited() should that fail."""

    child: Child
    restarts: int  # how often in a row the seat's child crashed before this one


@dataclass(frozen=True, slots=True)
class Say:
    """Tell it this word."""

    child: Child
    word: Word


@dataclass(frozen=True, slots=True)
class Kill:
    """Send it this signal."""

    child: Child
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Adopt:
    """The generation serves and is the current one: after the first start, or after a reload."""

    generation: int


@dataclass(frozen=True, slots=True)
class Retire:
    """The last child of an old generation is gone: what only it needed can be closed."""

    generation: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """The reload failed and its children are gone; the old generation goes on."""

    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the supervisor, killing whatever still lives. reason is empty when all went as asked."""

    code: int
    reason: str = ""


Action = Spawn | Say | Kill | Adopt | Retire | Abandon | Exit


def ended(code: int) -> str:
    """How a child ended, in words."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def named(child: Child) -> str:
    """worker 0, or the upstream process."""
    return "the upstream process" if child.seat == UPSTREAM else f"worker {child.seat}"
