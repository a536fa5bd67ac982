"""What is put off to the end of a turn of the event loop: what many queries do together is done once for all of them.

A callback of the loop that knows its own end puts begin() and end() around itself: what it puts off is done in end().
Put off anywhere else it is done in the loop's next turn, which costs one more call of the selector.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turn:
    """One for all that lives in a loop."""

    __slots__ = ("_due", "_is_called", "_is_open", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is put off yet."""
        self._loop = loop
        self._due: deque[Callable[[], None]] = deque()
        self._is_open = False
        self._is_called = False  # the loop will call us

    def put_off(self, work: Callable[[], None]) -> None:
        """Have work done at the end of this turn; the caller minds that it is put off once."""
        self._due.append(work)
        if not self._is_open and not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._called)

    def begin(self) -> None:
        """From here to end() nothing has to be asked of the loop. Not to be nested."""
        self._is_open = True

    def end(self) -> None:
        """Do what was put off, and what that puts off."""
        due = self._due
        self._is_open = True
        try:
            while due:
                due.popleft()()
        finally:
            self._is_open = False
            if due and not self._is_called:  # one raised: the others must not be lost with it
                self._is_called = True
                self._loop.call_soon(self._called)

    def _called(self) -> None:
        self._is_called = False
        self.end()
