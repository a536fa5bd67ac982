"""Filling in a template."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from shardns.corefile import ServerBlock, parse
from supervisor.sources import placeholders
from supervisor.sources.placeholders import Lack

VALUES = {
    placeholders.CLUSTER: "10.96.0.11",
    placeholders.LOCAL: "169.254.20.10 10.96.0.10",
    placeholders.SERVER: "",
    placeholders.UPSTREAM: "/etc/resolv.conf",
    placeholders.ENDPOINT: ":9253",
}
IPS = ("169.254.20.10", "10.96.0.10")


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("forward . __PILLAR__CLUSTER__DNS__ {", "forward . 10.96.0.11 {"),
        ("bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__", "bind 169.254.20.10 10.96.0.10 "),
        ("forward . __PILLAR__UPSTREAM__SERVERS__", "forward . /etc/resolv.conf"),
        ("prometheus __PROMETHEUS__ENDPOINT__", "prometheus :9253"),
        ("__PILLAR__DNS__DOMAIN__:53 {", "__PILLAR__DNS__DOMAIN__:53 {"),
        ("health __PILLAR__LOCAL__DNS__:8080", "health 169.254.20.10:8080"),
        ("health [__PILLAR__LOCAL__DNS__]:8080", "health 169.254.20.10:8080"),
        ("# __PILLAR__CLUSTER__DNS__", "# 10.96.0.11"),
        ("__PILLAR__CLUSTER__DNS__ __PILLAR__CLUSTER__DNS__", "10.96.0.11 10.96.0.11"),
        ("__PILLAR__CLUSTER__DNS", "__PILLAR__CLUSTER__DNS"),
    ],
)
def test_fill(text, wanted):
    """Each word that has a value is replaced, wherever it stands; one address where a port follows."""
    assert placeholders.fill(text, VALUES, IPS) == wanted


@pytest.mark.parametrize("text", ["health __PILLAR__LOCAL__DNS__:8080", "health [__PILLAR__LOCAL__DNS__]:8080"])
def test_ipv6_health(text):
    """An IPv6 address before a port has its brackets, once."""
    assert placeholders.fill(text, {placeholders.LOCAL: "fd00::a"}, ("fd00::a",)) == "health [fd00::a]:8080"


def test_without_addresses():
    """Nothing is put where no address is known."""
    text = "health __PILLAR__LOCAL__DNS__:8080"
    assert placeholders.fill(text, {}) == text


def parsed(text: str, files: Mapping[str, str] | None = None) -> tuple[ServerBlock, ...]:
    """The blocks of a text."""
    return parse(text, file="Corefile", env={}, read=lambda path: [(path, (files or {})[path])])


def test_what_is_left():
    """Every placeholder that stays is an error at its place, with its reason; comments do not matter."""
    text = (
        "# __PILLAR__DNS__DOMAIN__\n"
        "__PILLAR__DNS__DOMAIN__:53 {\n"
        "    cache {\n        success __PILLAR__X__\n    }\n"
        "    forward . __PILLAR__CLUSTER__DNS__\n"
        "    __PROMETHEUS__ENDPOINT__\n"
        "}\n"
    )
    lacks = {placeholders.CLUSTER: Lack("no Service", "make one"), placeholders.ENDPOINT: Lack("a", "b")}
    errors, _ = placeholders.left(parsed(text), lacks)
    found = [str(error) for error in errors]
    assert [error.split(" is not")[0] for error in found] == [
        "Corefile:2:1: __PILLAR__DNS__DOMAIN__",
        "Corefile:4:17: __PILLAR__X__",
        "Corefile:6:15: __PILLAR__CLUSTER__DNS__",
        "Corefile:7:5: __PROMETHEUS__ENDPOINT__",
    ]
    assert found[2].endswith("is not filled in: no Service (make one)")
    assert "known are __PILLAR__CLUSTER__DNS__, " in found[1]


def test_what_is_left_of_an_import():
    """A placeholder of an imported file is found in that file."""
    blocks = parsed(". {\n    import more\n}\n", {"more": "forward . __PILLAR__CLUSTER__DNS__\n"})
    (error,), _ = placeholders.left(blocks, {})
    assert str(error.at) == "more:1:11"


def test_said_once():
    """One that stands in several places is one error, at the first; all places are known."""
    blocks = parsed("__PILLAR__DNS__DOMAIN__ {\n}\nx.__PILLAR__DNS__DOMAIN__ {\n    log\n}\n")
    (error,), places = placeholders.left(blocks, {placeholders.DOMAIN: Lack("why", "what")})
    wanted = "Corefile:1:1: __PILLAR__DNS__DOMAIN__ is not filled in (2 places): why (what)"
    assert str(error) == wanted
    assert sorted(map(str, places)) == ["Corefile:1:1", "Corefile:3:1"]


@pytest.mark.parametrize("text", ["__PILLAR__ {\n}", "__PILLAR__dns {\n}", "x__PILLAR__DNS__DOMAIN__y {\n}"])
def test_broken_placeholders(text):
    """What looks like a placeholder is not taken for a zone."""
    errors, _ = placeholders.left(parsed(text), {})
    assert len(errors) == 1
    assert placeholders.are_in(text)


def test_nothing_is_left():
    """A Corefile without placeholders has no such error."""
    text = "example.org {\n forward . 192.0.2.1\n}"
    assert placeholders.left(parsed(text), {}) == ([], frozenset())
    assert not placeholders.are_in(text)
