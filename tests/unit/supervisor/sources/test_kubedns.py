"""What the ConfigMap kube-dns says."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.corefile import parse, zone_keys
from shardns.errors import ConfigErrors
from supervisor.sources import kubedns
from supervisor.sources.kubedns import KubeDns


def read(stubs: object = None, upstreams: object = None) -> KubeDns:
    """Of JSON values; a text is taken as it is."""
    values = {kubedns.STUBS: stubs, kubedns.UPSTREAMS: upstreams}
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items() if v is not None}
    return kubedns.read(texts, "/cm")


def refused(stubs: object = None, upstreams: object = None) -> list[str]:
    """What is wrong with them."""
    with pytest.raises(ConfigErrors) as caught:
        read(stubs, upstreams)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    "stubs, wanted",
    [
        (None, ()),
        ("", ()),
        (" \n", ()),
        ("null", ()),
        ({}, ()),
        ({"acme.example.org": ["192.0.2.1"]}, (("acme.example.org.", ("192.0.2.1",)),)),
        ({"Acme.Example.ORG.": ["192.0.2.1:5353"]}, (("acme.example.org.", ("192.0.2.1:5353",)),)),
        (
            {"b.example.org": ["192.0.2.2", "192.0.2.2"], "a.example.org": ["2001:db8::1", "[2001:db8::1]:53"]},
            (("a.example.org.", ("2001:db8::1", "[2001:db8::1]:53")), ("b.example.org.", ("192.0.2.2",))),
        ),
    ],
)
def test_stub_domains(stubs, wanted):
    """Zones normalised and sorted, each with its servers as they were written, each once."""
    assert read(stubs).stubs == wanted


@pytest.mark.parametrize(
    "upstreams, wanted",
    [
        (None, ()),
        ([], ()),
        (["192.0.2.1"], ("192.0.2.1",)),
        (["192.0.2.1:53", "2001:db8::1", "192.0.2.3"], ("192.0.2.1:53", "2001:db8::1", "192.0.2.3")),
    ],
)
def test_upstreams(upstreams, wanted):
    """Up to three servers, in their order."""
    assert read(upstreams=upstreams).upstreams == wanted


@pytest.mark.parametrize(
    "stubs, upstreams, words",
    [
        ("{", None, "Invalid JSON in /cm/stubDomains: "),
        ("[" * 100_000, None, "Invalid JSON in /cm/stubDomains: too many brackets"),
        (["a.example.org"], None, "/cm/stubDomains: must be a JSON object"),
        ({"a.example.org": "192.0.2.1"}, None, "a.example.org.: must be a JSON array"),
        ({"a.example.org": []}, None, "a.example.org. has no nameserver"),
        ({"a.example.org": ["ns.example.org"]}, None, 'a.example.org.: not an address: "ns.example.org"'),
        ({"a.example.org": ["192.0.2.1:x"]}, None, "not an address"),
        ({"a.example.org": ["192.0.2.1:0"]}, None, "not an address"),
        ({"a.example.org": ["2001:db8::1]:53"]}, None, "not an address"),
        ({"a.example.org": ["[192.0.2.1]:53"]}, None, "not an address"),
        ({"a.example.org": ["/etc/resolv.conf"]}, None, "not an address"),
        ({"a.example.org": ["192.0.2.1 {\n force_tcp\n}"]}, None, "not an address"),
        ({"a.example.org": [1]}, None, "not an address"),
        ({"a.example.org": [f"192.0.2.{n}" for n in range(16)]}, None, "16 nameservers, 15 is the limit"),
        ({"a.example.org {\n}": ["192.0.2.1"]}, None, "not a zone"),
        ({"": ["192.0.2.1"]}, None, "not a zone"),
        ({"a..b": ["192.0.2.1"]}, None, "not a zone"),
        ({"x.": ["192.0.2.1"], "X": ["192.0.2.1"]}, None, "zone x. is there twice"),
        (None, "no", "Invalid JSON in /cm/upstreamNameservers"),
        (None, {"a": 1}, "/cm/upstreamNameservers: must be a JSON array"),
        (None, ["ns.example.org"], "/cm/upstreamNameservers: not an address"),
        (None, [f"192.0.2.{n}" for n in range(4)], "/cm/upstreamNameservers: 4 nameservers, 3 is the limit"),
    ],
)
def test_refused(stubs, upstreams, words):
    """What node-cache's two validators refuse, and what would be more than a server's address, is said by its place."""
    assert any(words in error for error in refused(stubs, upstreams))


def test_everything_wrong_is_said():
    """Errors of both keys come together, and then nothing counts."""
    assert len(refused({"a": ["x"], "b": []}, "[")) == 3


@given(st.text())
def test_any_text(text):
    """Any text is read or refused."""
    with contextlib.suppress(ConfigErrors):
        kubedns.read({kubedns.STUBS: text, kubedns.UPSTREAMS: text}, "/cm")


@given(st.dictionaries(st.text(max_size=8), st.lists(st.text(alphabet="192.0:[]{} \n", max_size=9), max_size=3)))
def test_blocks_hold_what_was_read(stubs):
    """Whatever the ConfigMap holds, the text has one server block for each zone and nothing else."""
    try:
        found = read(stubs).stubs
    except ConfigErrors:
        return
    blocks = parse(kubedns.blocks(found, 53, ["192.0.2.9"]), file="x", env={}, read=lambda _: [])
    assert [zone_keys(block.keys[0])[0].zone for block in blocks] == [zone for zone, _ in found]
    assert [[arg.text for arg in block.directives[3].args] for block in blocks] == [[".", *to] for _, to in found]


def test_blocks():
    """node-cache's blocks: errors, cache 30, bind, forward without force_tcp."""
    text = kubedns.blocks([("a.example.org.", ["192.0.2.1", "192.0.2.2:5353"])], 1053, ["127.0.0.1", "::1"])
    assert text == (
        "\na.example.org.:1053 {\n    errors\n    cache 30\n    bind 127.0.0.1 ::1\n"
        "    forward . 192.0.2.1 192.0.2.2:5353\n}\n"
    )
    assert "bind" not in kubedns.blocks([("a.", ["192.0.2.1"])], 53, [])


BLOCK = "    forward . __PILLAR__UPSTREAM__SERVERS__ {\n            force_tcp\n    }\n"


@pytest.mark.parametrize(
    "text, wanted, stays",
    [
        (BLOCK, "    forward . __PILLAR__UPSTREAM__SERVERS__\n\n\n", False),
        (BLOCK.replace("    ", "\t"), "\tforward . __PILLAR__UPSTREAM__SERVERS__\n\n\n", False),
        (BLOCK.replace("  ", ""), "forward . __PILLAR__UPSTREAM__SERVERS__\n\n\n", False),
        (BLOCK.replace("force_tcp", "force_tcp # always"), "    forward . __PILLAR__UPSTREAM__SERVERS__\n\n\n", False),
        ("forward . __PILLAR__UPSTREAM__SERVERS__\n", "forward . __PILLAR__UPSTREAM__SERVERS__\n", False),
        (BLOCK.replace("force_tcp", "prefer_udp"), BLOCK.replace("force_tcp", "prefer_udp"), False),
        (BLOCK.replace("force_tcp", "# force_tcp"), BLOCK.replace("force_tcp", "# force_tcp"), False),
        (BLOCK.replace("_tcp", "_tcp\nexpire 5s"), BLOCK.replace("_tcp", "_tcp\nexpire 5s"), True),
        (BLOCK.replace("UPSTREAM__SERVERS", "CLUSTER__DNS"), BLOCK.replace("UPSTREAM__SERVERS", "CLUSTER__DNS"), False),
    ],
)
def test_without_tcp(text, wanted, stays):
    """A block that only forces TCP goes, however it is indented; one that says more stays, and that is told."""
    assert kubedns.without_tcp(text) == (wanted, stays)
