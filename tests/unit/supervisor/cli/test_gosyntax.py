"""Go's flag syntax, as node-cache's command lines use it."""

from __future__ import annotations

import pytest

from supervisor.cli.gosyntax import Flag, FlagError, parse

FLAGS = (
    Flag("localip", "", "", "IPS"),
    Flag("dns.port", "53", "", "PORT", ("p",)),
    Flag("quiet", "false", ""),
    Flag("setupinterface", "true", ""),
)


@pytest.mark.parametrize(
    "arguments, values",
    [
        ("-localip 192.0.2.1", {"localip": "192.0.2.1"}),
        ("-localip=192.0.2.1", {"localip": "192.0.2.1"}),
        ("--localip 192.0.2.1", {"localip": "192.0.2.1"}),
        ("--localip=192.0.2.1", {"localip": "192.0.2.1"}),
        ("-localip=", {"localip": ""}),
        ("-localip a=b", {"localip": "a=b"}),
        ("-localip=a=b", {"localip": "a=b"}),
        ("-localip -quiet", {"localip": "-quiet"}),
        ("-localip a -localip b", {"localip": "b"}),
        ("-p 1053", {"dns.port": "1053"}),
        ("-dns.port=1053", {"dns.port": "1053"}),
        ("-quiet", {"quiet": "true"}),
        ("--quiet", {"quiet": "true"}),
        ("-quiet=false", {"quiet": "false"}),
        ("-quiet=F", {"quiet": "false"}),
        ("-quiet=1", {"quiet": "true"}),
        ("-setupinterface=false -quiet", {"setupinterface": "false", "quiet": "true"}),
        ("", {}),
    ],
)
def test_values(arguments, values):
    """One dash or two, a value after a space or an equals sign; the last of several wins."""
    given = parse(arguments.split(), FLAGS)
    assert given.values == values
    assert given.rest == ()


@pytest.mark.parametrize(
    "arguments, values, rest",
    [
        ("-quiet false", {"quiet": "true"}, ("false",)),
        ("file -quiet", {}, ("file", "-quiet")),
        ("-quiet -- -localip", {"quiet": "true"}, ("-localip",)),
        ("-", {}, ("-",)),
    ],
)
def test_the_first_word_that_is_no_flag_ends_the_flags(arguments, values, rest):
    """What follows it is positional; a boolean does not take the next word."""
    given = parse(arguments.split(), FLAGS)
    assert (given.values, given.rest) == (values, rest)
    with pytest.raises(FlagError, match="extra command line arguments"):
        given.no_rest()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("-nonsense", "flag provided but not defined: -nonsense"),
        ("--nonsense=1", "flag provided but not defined: -nonsense"),
        ("-local-ip 192.0.2.1", "flag provided but not defined: -local-ip (did you mean -localip?)"),
        ("-Quiet", "flag provided but not defined: -Quiet (did you mean -quiet?)"),
        ("-localip", "flag needs an argument: -localip"),
        ("-quiet=perhaps", 'invalid boolean value "perhaps" for -quiet: parse error'),
        ("-quiet=", 'invalid boolean value "" for -quiet: parse error'),
        ("---quiet", "bad flag syntax: ---quiet"),
        ("-=1", "bad flag syntax: -=1"),
    ],
)
def test_errors(arguments, words):
    """What cannot be read is refused in Go's words."""
    with pytest.raises(FlagError) as caught:
        parse(arguments.split(), FLAGS)
    assert str(caught.value) == words


@pytest.mark.parametrize("word", ["-h", "--h", "-help", "--help"])
def test_help(word):
    """-h and -help are known to every Go program."""
    assert parse([word], FLAGS).wants_help


def test_defaults():
    """A flag that is not given has its default, and has() tells the difference."""
    given = parse(["-p", "53"], FLAGS)
    assert given.text("dns.port") == "53"
    assert given.has("dns.port")
    assert given.truth("setupinterface")
    assert not given.has("setupinterface")
