"""`shardns check FILE`: what a Corefile means to us, or everything that is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from shardns.errors import ConfigError, ConfigErrors
from shardns.plan import describe
from supervisor.cli import flags
from supervisor.cli.gosyntax import FlagError, parse
from supervisor.options import Options
from supervisor.sources import CorefileSource, each

USAGE = """\
shardns check FILE [-dns.port PORT]

Prints what the Corefile means, with every default, and what looks wrong about it; exit code 0. Or every error, each
with file, line, column and a hint; exit code 1. FILE may be stdin. Flags of the server may stand here too, so that a
whole command line can be pasted; -conf then names the file."""


def run(words: Sequence[str]) -> int:
    """The exit code of `check ...`."""
    arguments = list(words[1:])
    leading = [arguments.pop(0)] if arguments and not arguments[0].startswith("-") else []
    try:
        given = parse(arguments, flags.ALL)
        port = flags.port(given, "dns.port")
    except FlagError as error:
        print(f"shardns check: {error}", file=sys.stderr)
        return 1
    if given.wants_help:
        print(USAGE)
        return 0
    files = [*leading, *given.rest] or [name for name in (given.text("conf"),) if name]
    if len(files) != 1:
        print("shardns check: name one Corefile\n\n" + USAGE, file=sys.stderr)
        return 1
    return check(Options(workers=1, conf=files[0], dns_port=port))


def check(options: Options) -> int:
    """Print what the Corefile of options means, or its errors; the exit code."""
    try:
        plan = CorefileSource(options).load()
    except (ConfigError, ConfigErrors) as errors:
        found = each(errors)
        for error in found:
            print(error, file=sys.stderr)
        print(f"{len(found)} error{'s' if len(found) > 1 else ''}", file=sys.stderr)
        return 1
    print(describe(plan), end="")
    for warning in plan.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0
