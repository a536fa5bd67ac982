"""The subcommands that talk to a running shardns, against a socket that answers from a script."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator

import msgpack
import pytest

from supervisor.cli import operator

ITEM = {
    "name": "www.example.org.",
    "type": "A",
    "class": "IN",
    "zones": ["example.org."],
    "facets": ["do"],
    "kind": "success",
    "rcode": "NOERROR",
    "ttl_s": 30,
    "age_s": 4,
    "left_s": 26,
    "octets": 64,
    "records": ["www.example.org. 26 IN A 192.0.2.80"],
}


class Script:
    """An upstream process that gives the same messages to every request, and keeps the requests."""

    def __init__(self, *messages: dict[str, object]) -> None:
        self.name = f"@shardns/test-{os.getpid()}"
        self.asked: list[dict[str, object]] = []
        self._messages = messages
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind("\0" + self.name[1:])
        self._sock.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._sock.accept()
            with client:
                self.asked.append(msgpack.unpackb(client.recv(4096)))
                client.sendall(b"".join(msgpack.packb(message) for message in self._messages))

    def close(self) -> None:
        """Also when nobody came."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join()


@contextlib.contextmanager
def scripted(*messages: dict[str, object]) -> Iterator[Script]:
    """A Script that is gone at the end."""
    with contextlib.closing(Script(*messages)) as script:
        yield script


@pytest.mark.parametrize(
    "words, request_",
    [
        ("reload", {"op": "reload"}),
        ("status", {"op": "stats"}),
        ("cache stats", {"op": "stats"}),
        ("cache lookup www.example.org", {"op": "lookup", "name": "www.example.org", "type": "", "zone": ""}),
        ("cache lookup www.example.org AAAA", {"op": "lookup", "name": "www.example.org", "type": "AAAA", "zone": ""}),
        ("cache lookup --zone . x.test", {"op": "lookup", "name": "x.test", "type": "", "zone": "."}),
        ("cache dump", {"op": "dump", "zone": "", "records": False}),
        ("cache dump example.org --records", {"op": "dump", "zone": "example.org", "records": True}),
        ("cache flush www.example.org", {"op": "flush", "name": "www.example.org"}),
        ("cache flush --zone example.org", {"op": "flush", "zone": "example.org"}),
        ("cache flush --all", {"op": "flush", "zone": "."}),
    ],
)
def test_requests(words, request_, capsys):
    """Each subcommand asks one thing; flags may stand anywhere."""
    with scripted({"done": {"removed": 3}}) as script:
        assert operator.run([*words.split(), "--control", script.name]) == 0
    assert script.asked == [request_]


def test_flush_says_how_many(capsys):
    """The number of entries is what an operator wants to see."""
    with scripted({"done": {"removed": 3}}) as script:
        operator.run(["cache", "flush", "--all", "--control", script.name])
    assert capsys.readouterr().out == "3 entries thrown out\n"


def test_entries_for_a_person(capsys):
    """An entry is a line, its records follow, and the count goes to standard error."""
    with scripted({"item": ITEM}, {"item": {**ITEM, "left_s": -5, "records": []}}, {"done": {}}) as script:
        operator.run(["cache", "lookup", "www.example.org", "--control", script.name])
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "www.example.org. IN A +do  NOERROR, success, fresh for 26s of 30s, 64 octets, in example.org.",
        "    www.example.org. 26 IN A 192.0.2.80",
        "www.example.org. IN A +do  NOERROR, success, expired 5s ago of 30s, 64 octets, in example.org.",
    ]
    assert err == "2 entries\n"


def test_entries_for_a_program(capsys):
    """--json gives one object a line and nothing else."""
    with scripted({"item": ITEM}, {"done": {}}) as script:
        operator.run(["cache", "dump", "--json", "--control", script.name])
    out, err = capsys.readouterr()
    assert [json.loads(text) for text in out.splitlines()] == [ITEM]
    assert err == ""


def test_refusal_is_passed_on(capsys):
    """What the upstream process objects to is shown; exit code 1."""
    with scripted({"error": "no such type"}) as script:
        assert operator.run(["cache", "lookup", "x.test", "NONSENSE", "--control", script.name]) == 1
    assert capsys.readouterr().err == "shardns cache: no such type\n"


def test_nobody_there(capsys):
    """A socket that nobody listens on is named."""
    assert operator.run(["reload", "--control", "@shardns/nobody"]) == 1
    assert "@shardns/nobody: Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["cache", "cache lookup", "cache flush", "cache lookup a b c", "cache stir", "reload now"]
)
def test_words_that_say_nothing(words, capsys):
    """The usage is shown; nothing is done."""
    with scripted({"done": {}}) as script:
        assert operator.run([*words.split(), "--control", script.name]) == 1
    assert "shardns cache lookup NAME [TYPE]" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["cache help", "cache --help", "reload -h"])
def test_help(words, capsys):
    """Help needs no running shardns."""
    assert operator.run(words.split()) == 0
    assert "shardns cache lookup NAME [TYPE]" in capsys.readouterr().out


LISTING = """\
Num       RefCount Protocol Flags    Type St Inode Path
ffff1: 00000002 00000000 00010000 0001 01 11 @shardns/shardns-53
ffff2: 00000003 00000000 00000000 0001 03 12 @shardns/shardns-53
ffff3: 00000002 00000000 00010000 0001 01 13 /run/other.sock
ffff4: 00000002 00000000 00000000 0002 01 14
"""


def test_the_one_that_runs_is_found():
    """A listening socket with our prefix; connections to it have the same name and do not count."""
    assert operator.find(LISTING) == "@shardns/shardns-53"


def test_none_or_several_are_said():
    """Without exactly one the operator is told what to do."""
    with pytest.raises(ValueError, match="no shardns runs here"):
        operator.find("Num\n")
    with pytest.raises(ValueError, match="@shardns/shardns-53, @shardns/two"):
        operator.find(LISTING + "ffff5: 00000002 00000000 00010000 0001 01 15 @shardns/two\n")
