"""The C core's answers to the frames of a TCP connection.

One per process, used by the event loop's thread alone: what a call leaves in `out` and in the frames is gone with the
next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shardns.cache import untouched
from shardns.core import ffi, lib
from shardns.worker.frames import FRAME_MAX, READ_MAX, Cdata

_IPV4_LEN: Final = 16  # octets of struct sockaddr_in
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # ::ffff:0:0/96 (RFC 4291 s.2.5.5.2)


class CoreAnswering:
    """Answering by shd_answer_frames."""

    def __init__(self, answerer: Cdata, *, wake_log: Callable[[], None], clock_realtime_ns: Callable[[], int]) -> None:
        """answerer: a struct shd_answerer of this thread's own. wake_log is called when log records wait."""
        self.buffer = untouched(FRAME_MAX + READ_MAX)
        self._answerer = answerer
        self._in = ffi.from_buffer("uint8_t[]", self.buffer)
        out = untouched(lib.SHD_FRAMES_OUT)
        self.out = memoryview(out)
        self._out = ffi.from_buffer("uint8_t[]", out)
        self._frames = ffi.new("struct shd_frames *")
        self._log = answerer.log if answerer.log != ffi.NULL else None
        self._wake_log = wake_log
        self._clock_realtime_ns = clock_realtime_ns

    def client(self, listener: int, peer: bytes) -> Cdata:
        """A struct shd_client."""
        is_ipv4 = len(peer) == _IPV4_LEN or peer[8:20] == _MAPPED
        return ffi.new(
            "struct shd_client *",
            {
                "listener": listener,
                "family": lib.SHD_IPV4 if is_ipv4 else lib.SHD_IPV6,
                "peer_len": len(peer),
                "peer": peer,
            },
        )

    def answer(self, client: Cdata, start: int, end: int, now_ns: int, miss_room: int) -> Cdata:
        """See frames.Answering."""
        frames = self._frames
        lib.shd_answer_frames(
            self._answerer, client, self._in + start, end - start, now_ns, miss_room, self._out, frames
        )
        return frames

    def count(self, client: Cdata, duration_ns: int) -> None:
        """See frames.Answering."""
        lib.shd_frames_count(self._answerer, client, self._frames, self._out, duration_ns, self._clock_realtime_ns())
        if self._log is not None and self._log.head != self._log.tail:
            self._wake_log()

    def fail(self, client: Cdata, packet: bytes, duration_ns: int) -> int:
        """See frames.Answering."""
        length: int = lib.shd_frame_fail(
            self._answerer, client, packet, len(packet), duration_ns, self._clock_realtime_ns(), self._out
        )
        if self._log is not None and self._log.head != self._log.tail:
            self._wake_log()
        return length
