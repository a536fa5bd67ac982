"""`shardns check FILE`: what a Corefile means to us, or everything that is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from shardns.corefile import files
from shardns.errors import ConfigError, ConfigErrors
from shardns.plan import describe
from supervisor.cli import flags, nodeflags, templateflags
from supervisor.cli.gosyntax import FlagError, Given, parse
from supervisor.options import STDIN, Options
from supervisor.sources import CorefileSource, each, placeholders

USAGE = """\
shardns check FILE [-dns.port PORT]

Prints what the Corefile means, with every default, and what looks wrong about it; exit code 0. Or every error, each
with file, line, column and a hint; exit code 1. FILE may be stdin, or a template, which is filled in as the flags say.
Without FILE a whole command line of the server can stand here: what it would serve is checked. Nothing is written."""


def run(words: Sequence[str]) -> int:
    """The exit code of `check ...`."""
    arguments = list(words[1:])
    leading = [arguments.pop(0)] if arguments and not arguments[0].startswith("-") else []
    try:
        given = parse(arguments, flags.ALL)
        wishes = nodeflags.wishes(given, nodeflags.local_ips(given), given.port("dns.port"))
        options = Options(workers=1, local_ips=wishes.local_ips, dns_port=wishes.dns_port, node=wishes)
        options = templateflags.applied(given, options)
    except FlagError as error:
        print(f"shardns check: {error}", file=sys.stderr)
        return 1
    if given.wants_help:
        print(USAGE)
        return 0
    named = [*leading, *given.rest]
    if len(named) > 1 or not (named or given.values):
        print("shardns check: name one Corefile\n\n" + USAGE, file=sys.stderr)
        return 1
    return check(_of_file(named[0], given, options) if named else options)


def _of_file(path: str, given: Given, options: Options) -> Options:
    """The options, for a file to be looked at by itself: filled in if it has placeholders, else as it is."""
    try:
        is_template = path != STDIN and placeholders.are_in(files.text(path))
    except (OSError, ValueError):
        is_template = False  # reading it again will say why
    options = replace(options, kube_dns=given.text("kubednscm"))
    if is_template:
        return replace(options, conf="", base_corefile=path)
    return replace(options, conf=path, base_corefile="")


def check(options: Options) -> int:
    """Print what the Corefile of options means, or its errors; the exit code."""
    try:
        plan = CorefileSource(options, is_trial=True).load()
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
