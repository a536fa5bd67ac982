"""`shardns`: the supervisor, or one of the subcommands."""

from __future__ import annotations

import importlib
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from shardns import log as shardns_log
from supervisor.cli import flags, texts
from supervisor.cli.gosyntax import FlagError, Given, parse

SUBCOMMANDS = {  # word to the module that has run(arguments) -> exit code
    "check": "supervisor.cli.check",
    "demo": "supervisor.cli.demo",
    "doctor": "supervisor.cli.doctor",
    "sizing": "supervisor.cli.sizing",
    "teardown": "supervisor.cli.teardown",
    "reload": "supervisor.cli.operator",
    "cache": "supervisor.cli.operator",
    "status": "supervisor.cli.operator",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command line arguments (by default our own)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    open_standard()
    if words and words[0] in SUBCOMMANDS:
        run: Callable[[Sequence[str]], int] = importlib.import_module(SUBCOMMANDS[words[0]]).run
        return _interruptible(lambda: run(words))
    try:
        given = parse(words, flags.ALL)
        if given.wants_help or words == ["help"]:
            print(texts.usage())
            return 0
        if given.truth("version"):
            print(texts.version())
            return 0
        if given.truth("plugins"):
            print(texts.plugins())
            return 0
        return serve(given)
    except FlagError as error:
        return fail(error)


def open_standard() -> None:
    """Give each standard stream that was closed when we were started a place: what is printed to it goes nowhere.

    Otherwise the next socket would get its number, and what is logged.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115 - a descriptor, for as long as we live
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def fail(error: FlagError) -> int:
    """Say what is wrong with the command line, in node-cache's form; its exit code."""
    print(f"[FATAL] Error parsing flags - {error}, Exiting", file=sys.stderr)
    return 1


def serve(given: Given) -> int:
    """Run the supervisor."""
    from supervisor import cpus, privileges, signals

    asked = flags.understand(given, auto_workers=cpus.auto_workers)
    options = asked.options
    try:
        account = privileges.account(options.user, os.geteuid())
    except ValueError as error:
        raise FlagError(f"-user: {error}") from None
    signals.hold()
    shardns_log.configure(options.log_format, options.log_level)
    shardns_log.never_block()
    shardns_log.identify(role="supervisor")
    log = shardns_log.get_logger()
    for warning in asked.warnings:
        log.warning("config.warned", warning=warning)
    _title()
    _raise_limits()
    from supervisor import children, loop, sources

    if not privileges.can_become(account, Path("/proc/self/status").read_text()):
        why = "CAP_SETUID or CAP_SETGID is missing: the other processes stay root, without any capability"
        log.warning("setup.failed", what="user", error=why)
    children.preload()
    supervisor = loop.Supervisor(
        options,
        sources.CorefileSource(options),
        account=account,
        announce=None if options.is_quiet else texts.announce,
    )
    log.info("supervisor.started", version=texts.VERSION, python=platform.python_version(), workers=options.workers)
    return supervisor.run()


def _interruptible(run: Callable[[], int]) -> int:
    """The exit code of a subcommand; Ctrl-C ends it without a traceback, as a shell expects (128 + SIGINT)."""
    try:
        return run()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _title() -> None:
    """What ps shows."""
    from setproctitle import setproctitle

    setproctitle("shardns: supervisor")


def _raise_limits() -> None:
    """As many open files as we may have: every TCP client is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
