"""The `shardns` command: flags, subcommands, and what it says to a person."""

from supervisor.cli.main import main

__all__ = ["main"]
