"""`shardns doctor`: whether DNS of this node is as it should be, and what to do where it is not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor import cpus
from supervisor import segments as memory
from supervisor.cli import flags, operator
from supervisor.cli.gosyntax import Flag, FlagError, Given, parse

if TYPE_CHECKING:
    from supervisor.doctor.known import Known

USAGE = """\
shardns doctor [flags] [--json]   look at everything that DNS of this node needs, and say what to do

Run it as root, in the network of the node: on the node, or with kubectl exec in the pod. It changes nothing and ends
within 10 s. What should be there it is told by the shardns that runs; --control names one of several. Where none runs,
flags as given to shardns say what should. --json prints one object a line.

Exit code: 0 nothing fails, 1 something does, 2 the command line cannot be understood."""

EXIT_USAGE = 2
ABOUT_S = 2.0  # for a running shardns to say what it serves
_JSON = Flag("json", "false", "one JSON object a line")


def run(words: Sequence[str]) -> int:
    """The exit code of `doctor ...`."""
    try:
        given = parse(words[1:], (*flags.ALL, _JSON))
        if given.wants_help or given.rest == ("help",):
            print(USAGE)
            return 0
        options = flags.understand(given, auto_workers=cpus.auto_workers).options
    except FlagError as error:
        print(f"shardns doctor: {error}", file=sys.stderr)
        return EXIT_USAGE
    from supervisor.doctor import findings
    from supervisor.doctor.examine import examine
    from supervisor.doctor.known import from_flags

    control, trouble = _control(given, memory.table_name(options.dns_port, options.local_ips))
    known = _asked(control, trouble)
    if known.source == "nothing" and given.values.keys() - {"json", "control"}:
        told = from_flags(options)
        known = replace(
            known, source=told.source, served=told.served, options=options, config_errors=told.config_errors
        )
    found: list[findings.Finding] = []
    is_json, is_coloured = given.truth("json"), sys.stdout.isatty()
    for finding in examine(known):
        found.append(finding)
        print(findings.as_json(finding) if is_json else findings.line(finding, is_coloured=is_coloured), flush=True)
    if not is_json:
        print(findings.summary(found))
    return findings.exit_code(found)


def _control(given: Given, own: str, listing: str | None = None) -> tuple[str, str]:
    """The operator socket to ask, or why there is none.

    own      the name that a shardns with these flags gives its table, and by default its socket
    listing  the text of /proc/net/unix
    """
    if given.text("control"):
        return given.text("control"), ""
    text = Path("/proc/net/unix").read_text() if listing is None else listing
    try:
        return operator.find(text), ""
    except ValueError as error:
        name = operator.PREFIX + own
        is_there = any(line.split()[-1:] == [name] for line in text.splitlines())
        return (name, "") if is_there else ("", str(error))


def _asked(control: str, trouble: str) -> Known:
    """What the shardns behind that socket says."""
    from supervisor.doctor import look_serving
    from supervisor.doctor.known import Known

    if not control:
        return Known(trouble=trouble)
    return look_serving.running(control, ABOUT_S)
