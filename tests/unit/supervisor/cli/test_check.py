"""What an operator reads of a Corefile that is wrong: where, what, and what to do about it."""

from __future__ import annotations

import pytest

from supervisor.cli import main


def told(path, content, capsys):
    """What check says of the file: its error lines, or its warnings, with F for its name."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    main(["check", str(path)])
    lines = capsys.readouterr().err.splitlines()
    return [line.replace(str(path), "F") for line in lines if not line.endswith((" error", " errors"))]


END = " forward . 192.0.2.53\n}\n"


@pytest.mark.parametrize(
    "content, wanted",
    [
        # braces
        (".{\n" + END, ['F:3:1: unexpected "}" (the brace of ".{" in line 1 needs a space before it)']),
        (
            ". {\n cache{\n  success 9984\n }\n" + END,
            ['F:6:1: unexpected "}" (the brace of "cache{" in line 2 needs a space before it)'],
        ),
        (
            ". {\n forward . 192.0.2.53 {\n  force_tcp}\n}\n",
            ['F:1:3: missing "}" (the brace of "force_tcp}" in line 3 needs a space before it)'],
        ),
        (
            ". {\n forward . 192.0.2.53 {\n  force_tcp\n}\n",
            ['F:1:3: missing "}" (this brace, or one inside it, is never closed)'],
        ),
        # the number of arguments
        (
            ". {\n cache {\n  success\n }\n" + END,
            ["F:3:3: cache: success needs 1 argument, has 0 (success CAPACITY [TTL [MINTTL]])"],
        ),
        (
            ". {\n cache {\n  servfail 5 s\n }\n" + END,
            ['F:3:14: cache: servfail takes 1 argument: got "s" (servfail DURATION)'],
        ),
        (". {\n forward\n}\n", ["F:2:2: forward needs 2 arguments, has 0 (forward FROM TO...)"]),
        (". {\n health :8080 x\n" + END, ['F:2:15: health takes 1 argument: got "x" (health [ADDRESS])']),
        # variables that nobody set
        (
            ". {\n forward . {$SHARDNS_NO_SUCH}\n}\n",
            [
                'F:2:12: forward: not an address: got ""',
                "F:2:12: {$SHARDNS_NO_SUCH} stands for nothing (the environment has no SHARDNS_NO_SUCH)",
            ],
        ),
        (
            ". {\n import {%SHARDNS_NO_SUCH%}\n" + END,
            [
                "F:2:9: import takes one snippet, file or pattern",
                "F:2:9: {%SHARDNS_NO_SUCH%} stands for nothing (the environment has no SHARDNS_NO_SUCH)",
            ],
        ),
        # bytes
        (
            b". {\n # caf\xe9\n forward . 192.0.2.53\n}\n",
            ["F:2:7: the file is not UTF-8: byte 0xe9 (save the file as UTF-8)"],
        ),
        (
            ". {\n forward . 192.0.2.53\0\n}\n",
            [('F:2:12: a word with a zero byte in it: got "192.0.2.53\\x00" (the file is damaged, or is no text)')],
        ),
        # imports
        (
            "(a) {\n import b\n}\n(b) {\n import a\n}\n. {\n import a\n" + END,
            ["F:5:9: import of a leads back to itself ((a), (b), (a): take one of them out)"],
        ),
        # addresses of pages
        (
            ". {\n prometheus 9153\n" + END,
            ['F:2:13: prometheus: an address has the form host:port: got "9153" (write :9153)'],
        ),
        (
            ". {\n ready 0.0.0.0\n" + END,
            ['F:2:8: ready: an address has the form host:port: got "0.0.0.0" (write 0.0.0.0:PORT)'],
        ),
        (
            ". {\n ready 2001:db8::1\n" + END,
            [('F:2:8: ready: an address has the form host:port: got "2001:db8::1" (write [2001:db8::1]:PORT)')],
        ),
        (
            ". {\n bind 127.0.0.1\n health 127.0.0.1:53\n" + END,
            ["F:3:2: health: 127.0.0.1:53 is an address that DNS is served on (give it another port)"],
        ),
        (
            ". {\n ready http://192.0.2.1:8181\n" + END,
            ['F:2:8: ready: an address has the form host:port: got "http://192.0.2.1:8181" (write 192.0.2.1:8181)'],
        ),
        # words
        (
            ". {\n log . {remote} {name}\n" + END,
            ['F:2:8: log: the format is one word, and the last: got "{remote}" (put all of it in quotes)'],
        ),
        (". {\n loop x\n" + END, ['F:2:7: loop takes no argument: got "x"']),
        (". {\n \u200bcache 30\n" + END, ["F:2:2: Unknown directive '\\u200bcache' (did you mean cache?)"]),
        (
            ". {\n kubernetes cluster.local\n" + END,
            ["F:2:2: plugin kubernetes is not in this version (remove it; docs/plugins lists those that are)"],
        ),
    ],
)
def test_errors(content, wanted, tmp_path, capsys):
    """An error has its place, its reason and its remedy."""
    assert told(tmp_path / "Corefile", content, capsys) == wanted


@pytest.mark.parametrize(
    "content, wanted",
    [
        (
            ". {\n cache 30s\n" + END,
            "F:2:8: cache: 30s is taken for a zone (a TTL is a number of seconds, without a unit)",
        ),
        (
            ". {\n cache 30 60\n" + END,
            "F:2:11: cache: 60 is taken for a zone (a TTL is a number of seconds, without a unit)",
        ),
        (
            "example.org {\n cache 30 example.com\n" + END,
            ('F:2:11: cache: no query of this block is below: got "example.com" (the block serves example.org.)'),
        ),
        (
            "*.example.org {\n" + END,
            (
                'F:1:1: no name matches the asterisk: got "*.example.org"'
                " (a zone holds every name below it: write example.org)"
            ),
        ),
        (
            "10.0.0.0/33 {\n" + END,
            ('F:1:1: not an address range, so it is taken for a name: got "10.0.0.0/33" (such as 10.0.0.0/24)'),
        ),
        (
            "10.0.0.0/8. {\n" + END,
            ('F:1:1: not an address range, so it is taken for a name: got "10.0.0.0/8." (such as 10.0.0.0/24)'),
        ),
        (
            ". {\n errors {$SHARDNS_NO_SUCH}stdout\n" + END,
            "F:2:9: {$SHARDNS_NO_SUCH} stands for nothing (the environment has no SHARDNS_NO_SUCH)",
        ),
    ],
)
def test_warnings(content, wanted, tmp_path, capsys):
    """What CoreDNS takes in silence, and nobody can have meant, is said."""
    assert told(tmp_path / "Corefile", content, capsys) == [f"warning: {wanted}"]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff. {\n" + END,
        ". {\r\n\tcache\t30\r\n\tforward . 192.0.2.53\r\n}\r\n",
        "0/25.2.0.192.in-addr.arpa {\n" + END,
        "10.0.0.0/8 2001:db8::/33 {\n" + END,
        'example.org { # comment "\n cache 30 example.org a.example.org\n' + END,
        "example.org {\n cache 30 .\n" + END,
        "example.org:53 {\n bind 127.0.0.1\n" + END + "example.org {\n bind 127.0.0.2\n" + END,
        ". {\n" + " # padding, more padding, and again padding\n" * 25_000 + END,
    ],
)
def test_well(content, tmp_path, capsys):
    """BOM, CRLF, tabs, address ranges, classless reverse zones and a megabyte of comments are no trouble."""
    assert told(tmp_path / "Corefile", content, capsys) == []
