"""`shardns doctor`: its command line."""

import json

import pytest

from supervisor.cli import doctor, main
from supervisor.cli.flags import ALL
from supervisor.cli.gosyntax import parse

LISTING = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 101 @shardns/shardns-53-169.254.20.10
"""
SECOND = "0000000000000000: 00000002 00000000 00010000 0001 01 102 @shardns/shardns-54\n"


@pytest.mark.parametrize(
    "words, own, listing, wanted",
    [
        ([], "shardns-1053", LISTING, "@shardns/shardns-53-169.254.20.10"),
        (["--control", "/run/x"], "shardns-1053", "\n", "/run/x"),
        ([], "shardns-54", LISTING + SECOND, "@shardns/shardns-54"),
        ([], "shardns-1053", LISTING + SECOND, ""),
        ([], "shardns-1053", "\n", ""),
    ],
)
def test_which_one(words, own, listing, wanted):
    """The one that runs, the one that --control names, or of several the one that these flags would be."""
    control, trouble = doctor._control(parse(words, ALL), own, listing)
    assert control == wanted
    assert bool(trouble) == (not wanted)


@pytest.mark.parametrize("words", [["--nonsense"], ["-localip", "x"], ["rubbish"], ["--json=perhaps"]])
def test_usage(capsys, words):
    """A command line that cannot be understood is told in one line; the exit code is 2."""
    assert main(["doctor", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("shardns doctor: ")


@pytest.mark.parametrize("words", [["-help"], ["help"]])
def test_help(capsys, words):
    """Help says what it does and what the exit codes mean."""
    assert main(["doctor", *words]) == 0
    assert "Exit code" in capsys.readouterr().out


def test_flags_of_a_shardns_that_does_not_run(capsys, tmp_path):
    """With nothing at the socket, the flags say what should be served, and --json gives an object a line."""
    path = tmp_path / "Corefile"
    path.write_text(". {\n bind 127.0.0.1:0\n}\n. {\n bad\n}\n")
    words = ["--json", "--control", str(tmp_path / "none"), "-localip", "127.0.0.1", "-conf", str(path)]
    assert main(["doctor", *words]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(one.keys() == {"check", "state", "found", "remedy"} for one in found)
    told = [one["found"] for one in found if one["check"] == "program"]
    assert told[0].startswith(f"{path}:2:")
    assert "No such file or directory" in told[-1]
