"""Logging: what goes to standard output, and how a line of it looks.

Three kinds of line leave a process:

    text    2026-03-01 12:00:00.123 error child.exited role=worker slot=2 signal=SIGSEGV   on a terminal
    json    {"time":"2026-03-01T12:00:00.123456Z","level":"error","event":"child.exited",...} elsewhere
    plain   [INFO] 192.0.2.7:4431 - 61744 "A IN example.org. udp 56 false 512" NOERROR ...    plugins log and errors

Plain lines are CoreDNS's own and stay so in either format, because the parsers that operators have read them.

Every line is one os.write of a whole line: nothing is buffered that a kill could lose, there is no lock that a fork
could copy while it is held, and lines of several processes do not mix. Nothing here raises: a full or closed standard
output must not cost an answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat
import time
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, Literal, Protocol, cast

from shardns.events import Event
from shardns.imports import absent, hollow

# structlog imports rich wherever it is installed, for tracebacks in colour that nobody prints here: 0.1 s at the start
# and 5 MB of memory. It imports asyncio too, which takes OpenSSL along: 1 MB, and nothing of ours speaks TLS.
with absent("rich", "ssl"), hollow("pickle", "uuid"):
    import structlog

Format = Literal["auto", "text", "json"]
Level = Literal["debug", "info", "warning", "error"]
FORMATS: Final[tuple[Format, ...]] = ("auto", "text", "json")
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")

_STDOUT = 1
_WAIT_MS = 100  # for a reader that is slower than us; then lines are lost, at once, until it reads again
_ATOMIC = 4096  # PIPE_BUF: a write to a pipe of at most this many bytes is never mixed with another process's
_NUMBERS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS: Final[Mapping[str, str]] = {"debug": "2", "info": "32", "warning": "33", "error": "1;31"}

_identity: dict[str, object] = {}
_state = {"lost": 0, "torn": 0, "stuck": 0, "socket": 0}


class Logger(Protocol):
    """What get_logger gives: one method per level; facts are keys with units (`lived_s=41.2`)."""

    def debug(self, event: Event, **facts: object) -> None:
        """Only a developer asks for it."""

    def info(self, event: Event, **facts: object) -> None:
        """Someone will ask later."""

    def warning(self, event: Event, **facts: object) -> None:
        """Something is not as configured, and service goes on."""

    def error(self, event: Event, **facts: object) -> None:
        """Someone must act."""

    def exception(self, event: Event, **facts: object) -> None:
        """An error, with the traceback of the exception that is being handled: a bug of ours that was survived."""


def configure(log_format: Format = "auto", level: Level = "info") -> None:
    """Set up logging for this process and the ones it forks. May be called again.

    "auto" is text when standard output is a terminal, else JSON. Colours appear on a terminal unless NO_COLOR is set.
    """
    terminal = os.isatty(_STDOUT)
    if log_format == "auto":
        log_format = "text" if terminal else "json"
    render = _json if log_format == "json" else _Text(colours=terminal and not os.environ.get("NO_COLOR"))
    structlog.configure(
        processors=[_add_context, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(_NUMBERS[level]),
        logger_factory=_Writer,
        # A module's logger is made at import, before the command line is read.
        cache_logger_on_first_use=False,
    )


def never_block() -> None:
    """Make standard output one that does not block, for this process and the ones it forks.

    The same pipe or terminal is opened anew, because the flag on the one we were given would hit whoever else has it.
    A socket cannot be opened so; what is sent to it says each time that it is not to wait. A file never blocks.
    """
    mode = os.fstat(_STDOUT).st_mode
    _state["socket"] = stat.S_ISSOCK(mode)
    if not (stat.S_ISFIFO(mode) or os.isatty(_STDOUT)):
        return
    with contextlib.suppress(OSError):
        fd = os.open(f"/proc/self/fd/{_STDOUT}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.dup2(fd, _STDOUT)
        os.close(fd)


def get_logger() -> Logger:
    """The logger for a module; usable before configure, which it follows."""
    return cast("Logger", structlog.get_logger())


def identify(**facts: object) -> None:
    """Put these facts (role, slot) on every later line of this process, in place of those named before."""
    _identity.clear()
    _identity.update(facts)


def line(text: str) -> None:
    """Write one plain line, whatever the format: `[ERROR] plugin/errors: 2 example.org. A: ...`."""
    write(_clean(text) + b"\n")


def lines(texts: Iterable[str]) -> None:
    """Write plain lines, several to a write where they fit into one that a pipe keeps whole."""
    chunk: list[bytes] = []
    size = 0
    for text in texts:
        data = _clean(text) + b"\n"
        if size + len(data) > _ATOMIC and chunk:
            write(b"".join(chunk))
            chunk, size = [], 0
        chunk.append(data)
        size += len(data)
    if chunk:
        write(b"".join(chunk))


def lost() -> int:
    """How many writes this process gave up because standard output was full, closed or broken."""
    return _state["lost"]


def write(data: bytes) -> None:
    """Write whole lines to standard output; what it does not take, after a short wait the first time, is dropped."""
    rest = memoryview(b"\n" + data if _state["torn"] else data)  # a line cut short is ended first
    whole = len(rest)
    while rest:
        try:
            rest = rest[_put(rest) :]
        except BlockingIOError:
            if _state["stuck"] or not _writable():
                break
        except OSError:
            break
    _state["lost"] += bool(rest)
    _state["stuck"] = bool(rest)
    if len(rest) < whole:
        _state["torn"] = bool(rest)


def _put(data: memoryview) -> int:
    """How many octets standard output took. Raises OSError; BlockingIOError when it is full and must not block."""
    if not _state["socket"]:
        return os.write(_STDOUT, data)
    stream = socket.socket(fileno=_STDOUT)
    try:
        return stream.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    finally:
        stream.detach()


def _writable() -> bool:
    """Whether standard output takes more, waiting a little for it."""
    poll = select.poll()
    poll.register(_STDOUT, select.POLLOUT)
    return bool(poll.poll(_WAIT_MS))


def _clean(text: str) -> bytes:
    """The text as bytes that stay one line and cannot steer a terminal: control characters are escaped."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text.encode("utf-8", "backslashreplace")


# structlog hands dictionaries of anything from one processor to the next: its own types say Any.
EventDict = MutableMapping[str, Any]


def _add_context(_logger: object, level: str, event: EventDict) -> EventDict:
    """The event with its level, its time (seconds since the epoch) and this process's identity."""
    return {"time": time.time(), "level": level, "event": event.pop("event"), **_identity, **event}


def _json(_logger: object, _level: str, event: EventDict) -> str:
    """One JSON object; the time is UTC with microseconds (RFC 3339)."""
    seconds, micros = divmod(round(event["time"] * 1_000_000), 1_000_000)
    event["time"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}Z"
    return json.dumps(event, default=str, ensure_ascii=False, separators=(",", ":"))


class _Text:
    """Renders an event for a person; a traceback follows on lines of its own."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: object, level: str, event: EventDict) -> str:
        seconds, millis = divmod(round(event.pop("time") * 1000), 1000)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + f".{millis:03d}"
        trace = event.pop("exception", None)
        name = event.pop("event")
        event.pop("level")
        facts = "".join(f" {key}={_shown(value)}" for key, value in event.items())
        text = f"{self._paint('2', stamp)} {self._paint(_COLOURS[level], level)} {self._paint('1', name)}{facts}"
        return text if trace is None else f"{text}\n{trace}"

    def _paint(self, colour: str, text: str) -> str:
        """The text in an ANSI colour, if there are colours."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def _shown(value: object) -> str:
    """A fact's value, quoted when it would not read as one word."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if text.isprintable() and text and not set(' "=') & set(text) else json.dumps(text, ensure_ascii=False)


class _Writer:
    """Where structlog puts finished lines. One method per level, all the same: the level is in the line."""

    def __init__(self, *_args: object) -> None:
        """Take what structlog passes: what get_logger was given, which is nothing."""

    def msg(self, text: str) -> None:
        """Write one line (with a traceback, several)."""
        write(text.encode("utf-8", "backslashreplace") + b"\n")

    debug = info = warning = error = msg
