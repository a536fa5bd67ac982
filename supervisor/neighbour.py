"""Another instance on this node, which serves the same addresses: a surge upgrade begins with a copy of its table.

It goes on serving from its own; ours is as that was at one moment. Everything else is ours from the start: sockets (the
kernel spreads clients over both instances, SO_REUSEPORT), counters, processes.

Whoever answers need not be trusted: only a table that belongs to our user, who alone may write to it, is copied.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from shardns.role import Segment
from shardns.upstream.operator_client import OperatorClient, OperatorError

PATIENCE_S: Final = 2.0  # for each message of the neighbour; one that is stuck must not keep us from serving
_AT_ONCE: Final = 1 << 30  # octets of one sendfile(2)


def met(control: str) -> OperatorClient:
    """The instance behind the operator socket control. Raises Unreachable when there is none."""
    return OperatorClient(control, timeout_s=PATIENCE_S)


def copy_table(client: OperatorClient, segment: Segment, fits: Callable[[int], bool]) -> None:
    """Make of segment a copy of its table.

    segment   as large as the table, and empty
    fits      whether what is behind a descriptor is a table that we could have made
    Raises OperatorError, Malformed, Unreachable and OSError; segment may then hold part of it.
    """
    client.copy_table(lambda fd: _copy(fd, segment, fits))


def _copy(fd: int, segment: Segment, fits: Callable[[int], bool]) -> None:
    """Copy what is behind fd; what was never used of it stays a hole. Raises OperatorError and OSError."""
    if not fits(fd):
        raise OperatorError("another version, cache size or user made it")
    at = 0
    while at < segment.size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # the rest is a hole
                return
            raise
        end = os.lseek(fd, at, os.SEEK_HOLE)
        os.lseek(segment.writable_fd, at, os.SEEK_SET)
        while at < end:
            sent = os.sendfile(segment.writable_fd, fd, at, min(end - at, _AT_ONCE))
            if not sent:
                raise OSError(errno.EIO, "it became shorter")
            at += sent
