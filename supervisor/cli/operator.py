"""`shardns reload`, `status` and `cache ...`: talking to a shardns that runs, over its operator socket."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shardns import units
from shardns.errors import Malformed, Unreachable
from shardns.upstream.operator_client import OperatorClient, OperatorError
from supervisor.cli.gosyntax import Flag, FlagError, Given, parse

USAGE = """\
shardns reload                          have the Corefile read again
shardns status                          counters and what is under way
shardns cache lookup NAME [TYPE]        the cached answers to a question
shardns cache dump [ZONE]               every entry at and below ZONE
shardns cache flush NAME                throw out the entries of one name
shardns cache flush --zone ZONE         throw out those of ZONE and below it
shardns cache flush --all               throw out everything

  --control PATH    the operator socket: a path, or @NAME; needed only when several shardns run here
  --zone ZONE       with lookup: only the server block that serves ZONE
  --records         with dump: show the records too
  --json            one JSON object a line"""

FLAGS = (
    Flag("control", "", "operator socket", "PATH"),
    Flag("zone", "", "zone", "ZONE"),
    Flag("all", "false", "everything"),
    Flag("records", "false", "show records"),
    Flag("json", "false", "one JSON object a line"),
)
PREFIX = "@shardns/"  # of the operator sockets' names in the abstract namespace, unless --control says otherwise
_LISTENING = 0x10000  # __SO_ACCEPTCON in /proc/net/unix

# An item is whatever the other side says about an entry or about itself.
Item = Mapping[str, Any]


def run(words: Sequence[str]) -> int:
    """The exit code of `reload`, `status` or `cache ...`."""
    try:
        given, places = _read(words)
        if given.wants_help or places[-1:] == ["help"]:
            print(USAGE)
            return 0
        act = _understood(given, places)
        with OperatorClient(given.text("control") or find()) as client:
            act(client)
    except (FlagError, OperatorError, Unreachable, Malformed, ValueError) as error:
        print(f"shardns {words[0]}: {error}", file=sys.stderr)
        return 1
    return 0


def find(listing: str | None = None) -> str:
    """The one operator socket in our network namespace. Raises ValueError when there is none, or more than one.

    listing: the text of /proc/net/unix.
    """
    if listing is None:
        listing = Path("/proc/net/unix").read_text()
    found: set[str] = set()
    for line in listing.splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == len(("num", "refs", "protocol", "flags", "type", "state", "inode", "path")):
            name = fields[-1]
            if name.startswith(PREFIX) and int(fields[3], 16) & _LISTENING:
                found.add(name)
    if not found:
        raise ValueError("no shardns runs here (in this network namespace); if it has --control, give that here too")
    if len(found) > 1:
        raise ValueError(f"several run here, choose one with --control: {', '.join(sorted(found))}")
    return found.pop()


def _read(words: Sequence[str]) -> tuple[Given, list[str]]:
    """The flags, wherever they stand, and the words between them."""
    values: dict[str, str] = {}
    places: list[str] = []
    rest = list(words)
    given = parse([], FLAGS)
    while rest:
        if not rest[0].startswith("-"):
            places.append(rest.pop(0))
            continue
        given = parse(rest, FLAGS)
        values.update(given.values)
        rest = list(given.rest)
        if given.wants_help:
            break
    return Given(values, wants_help=given.wants_help, defaults=given.defaults), places


def _understood(given: Given, places: list[str]) -> Callable[[OperatorClient], None]:
    """What the words ask for. Raises FlagError for words that ask for nothing."""
    is_json, zone = given.truth("json"), given.text("zone")
    match places:
        case ["reload"]:
            return _reload
        case ["status"] | ["cache", "stats"]:
            return lambda client: print(_numbers(client.stats(), is_json=is_json))
        case ["cache", "lookup", name, *qtype] if len(qtype) <= 1:
            return lambda client: _show(client.lookup(name, "".join(qtype), zone), is_json=is_json)
        case ["cache", "dump", *below] if len(below) <= 1:
            records = given.truth("records")
            return lambda client: _show(client.dump("".join(below) or zone, records=records), is_json=is_json)
        case ["cache", "flush", name]:
            return lambda client: _flushed(client.flush_name(name))
        case ["cache", "flush"] if zone:
            return lambda client: _flushed(client.flush_zone(zone))
        case ["cache", "flush"] if given.truth("all"):
            return lambda client: _flushed(client.flush_all())
        case _:
            raise FlagError(f"cannot be understood; known are:\n\n{USAGE}")


def _reload(client: OperatorClient) -> None:
    """Ask for a reload."""
    client.reload()
    print("asked for a reload; its result is in the log and in coredns_reload_failed_total")


def _flushed(count: int) -> None:
    """Say what a flush did."""
    print(f"{count} entr{'y' if count == 1 else 'ies'} thrown out")


def _show(items: Iterable[Item], *, is_json: bool) -> None:
    """Print items as they come."""
    count = 0
    for count, item in enumerate(items, 1):  # noqa: B007 - the last number is used
        print(json.dumps(item) if is_json else line(item))
    if not is_json:
        print(f"{count} entr{'y' if count == 1 else 'ies'}", file=sys.stderr)


def line(item: Item) -> str:
    """An entry for a person: a line, and one for each record."""
    left_s = int(item["left_s"])
    life = f"fresh for {units.duration_text(left_s)}" if left_s > 0 else f"expired {units.duration_text(-left_s)} ago"
    facets = f" +{'+'.join(item['facets'])}" if item["facets"] else ""
    text = f"{item['name']} {item['class']} {item['type']}{facets}  {item['rcode']}, {item['kind']}, {life}"
    text += (
        f" of {units.duration_text(int(item['ttl_s']))}, {item['octets']} octets, in {' '.join(item['zones']) or '-'}"
    )
    return "\n".join([text, *(f"    {record}" for record in item.get("records", ()))])


def _numbers(numbers: Item, *, is_json: bool) -> str:
    """Numbers by name, one a line."""
    if is_json:
        return json.dumps(numbers)
    width = max((len(name) for name in numbers), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in numbers.items())
