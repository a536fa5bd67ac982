"""The worker process: UDP in a C thread, TCP clients in the event loop, hits out of the table it maps read-only."""

from shardns.worker.main import main

__all__ = ["main"]
