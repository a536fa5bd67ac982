"""Server blocks to a Plan: what is served where, what is refused, and what stays the same over reloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns import plan
from shardns.errors import ConfigError, ConfigErrors, Position
from shardns.plugins import cache, order
from shardns.plugins.api import Address, Facet
from tests.unit.plan.plans import COREFILES, errors, make

FORWARD = "forward . 192.0.2.53"
STOCK = (COREFILES / "node-local-dns.Corefile").read_text(encoding="utf-8")


def labels(made):
    """What is served where, as (server, zone)."""
    return [(row.server, row.zone) for row in made.rows]


def test_stock_corefile():
    """The Corefile of NodeLocal DNSCache resolves without a warning."""
    made = make(STOCK)
    assert made.warnings == ()
    assert [block.zones for block in made.blocks] == [("cluster.local.",), ("in-addr.arpa.",), ("ip6.arpa.",), (".",)]
    assert [listener.label for listener in made.listeners] == ["dns://169.254.20.10:53", "dns://10.96.0.10:53"]
    assert len(made.rows) == 10
    assert made.health == (Address("169.254.20.10", 8080),)
    assert made.prometheus == (Address("", 9253),)
    assert made.ready == ()
    assert made.reload == plan.Reload(30, 15)
    assert made.lameduck_s == 0
    assert made.http() == (Address("169.254.20.10", 8080), Address("", 9253))
    cluster = made.blocks[0].plugins[cache.NAME]
    assert isinstance(cluster, cache.Config)
    assert (cluster.success, cluster.denial) == (cache.Store(ttl_s=30), cache.Store(ttl_s=5))


@pytest.mark.parametrize("file", sorted(COREFILES.glob("*.Corefile")), ids=lambda file: file.stem)
def test_corefiles(file):
    """Every Corefile of the collection resolves and can be described."""
    env = {"MY_HOST_IP": "192.0.2.10"}
    made = make(file.read_text(encoding="utf-8"), file=str(file), env=env)
    assert made.blocks
    assert plan.describe(made).endswith("\n")


@pytest.mark.parametrize(
    "text, wanted",
    [
        (". {\nforward . 192.0.2.53\n}", [("dns://:53", "."), ("dns://:53", "dropped")]),
        ("Example.ORG:1053\n" + FORWARD, [("dns://:1053", "example.org."), ("dns://:1053", "dropped")]),
        (
            "a.example:1 b.example:2\n" + FORWARD,
            [("dns://:1", "a.example."), ("dns://:2", "b.example."), ("dns://:1", "dropped"), ("dns://:2", "dropped")],
        ),
        (
            "10.0.0.0/15\n" + FORWARD,
            [("dns://:53", "0.10.in-addr.arpa."), ("dns://:53", "1.10.in-addr.arpa."), ("dns://:53", "dropped")],
        ),
        (
            ".\nbind ::1 127.0.0.1\n" + FORWARD,
            [
                ("dns://[::1]:53", "."),
                ("dns://127.0.0.1:53", "."),
                ("dns://[::1]:53", "dropped"),
                ("dns://127.0.0.1:53", "dropped"),
            ],
        ),
    ],
)
def test_rows(text, wanted):
    """A row per listener and zone, and one per listener for what fits no zone."""
    assert labels(make(text)) == wanted


def test_default_port():
    """Keys without port get that of the options."""
    assert labels(make(".\n" + FORWARD, port=1053))[0] == ("dns://:1053", ".")


def test_rows_point_at_blocks():
    """A row knows its listener and the block that answers."""
    made = make(". {\n forward . 192.0.2.53\n}\nexample.org {\n forward . 192.0.2.54\n bind 127.0.0.1\n}")
    assert [(row.index, row.listener, row.block) for row in made.rows] == [
        (0, 0, 0),
        (1, 1, 1),
        (2, 0, None),
        (3, 1, None),
    ]
    assert made.listener(1).host == "127.0.0.1"
    with pytest.raises(KeyError):
        made.listener(2)


def test_plugins_in_order():
    """A block's plugins come in the one order, whatever the file's is."""
    made = make(".\nforward . 192.0.2.53\ncache\nlog\nerrors\nbind 127.0.0.1\nloop\nreload\nprometheus :9253")
    names = list(made.blocks[0].plugins)
    assert names == ["reload", "bind", "prometheus", "errors", "log", "cache", "loop", "forward"]


def test_facets():
    """Forwarded entries vary by DO and CD; without forward by nothing."""
    assert make(".\ncache\n" + FORWARD).blocks[0].facets == (Facet.DO, Facet.CD)
    assert make(".\ncache").blocks[0].facets == ()


@pytest.mark.parametrize(
    "text, wanted",
    [
        (". {\n}\n. {\n}", ["3:1: cannot serve dns://.:53 - it is already defined"]),
        (". .:53", ["1:3: cannot serve dns://.:53 - it is already defined"]),
        ("a {\nbind ::1\n}\na {\nbind ::1\n}", ["4:1: cannot serve dns://a.:53 on ::1 - it is already defined"]),
        (
            "a {\n}\na {\nbind ::1\n}",
            ["3:1: cannot serve dns://a.:53 on ::1 - zone overlap listener capacity with dns://a.:53"],
        ),
        (
            "a {\nbind ::1\n}\na {\n}",
            ["4:1: cannot serve dns://a.:53 - zone overlap listener capacity with dns://a.:53 on ::1"],
        ),
        ("10.0.0.0/8\n10.in-addr.arpa", None),
        ("10.0.0.0/8 10.in-addr.arpa", ["1:12: cannot serve dns://10.in-addr.arpa.:53 - it is already defined"]),
        ("a {\nbind ::1\n}\na {\nbind 127.0.0.1\n}", []),
        ("a {\n}\na:54 {\n}\nb {\n}", []),
    ],
)
def test_overlaps(text, wanted):
    """One zone at one address belongs to one block, and all addresses overlap each of them."""
    found = errors(text)
    assert found == wanted or (wanted is None and found[0].startswith("2:1: Unknown directive"))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("", "the Corefile has no server block"),
        (". {\n kubernetes cluster.local\n}", "2:2: plugin kubernetes is not in this version"),
        (". {\n rewrite stop {\n name a b\n }\n}", "2:2: plugin rewrite is not in this version"),
        (". {\n k8s_gateway\n}", "2:2: plugin k8s_gateway is not in this version"),
        (". {\n cahce\n}", "2:2: Unknown directive 'cahce'"),
        ("tls://. {\n}", "1:1: tls:// is not served"),
        (". {\n prometheus :53\n}", "2:2: prometheus: :53 is an address that DNS is served on"),
        (
            ". {\n bind 192.0.2.1\n forward . 192.0.2.1\n}",
            '3:12: forward: 192.0.2.1:53 is an address of our own: got "192.0.2.1"',
        ),
        (
            "a {\n forward . 192.0.2.1\n}\nb {\n bind 192.0.2.1\n}",
            '2:12: forward: 192.0.2.1:53 is an address of our own: got "192.0.2.1"',
        ),
        (". {\n forward . 127.0.0.1\n}", '2:12: forward: 127.0.0.1:53 is an address of our own: got "127.0.0.1"'),
        (". {\n forward . 192.0.2.10\n}", '2:12: forward: 192.0.2.10:53 is an address of our own: got "192.0.2.10"'),
        (". {\n bind nowhere\n}", '2:7: bind: neither an IP address nor an interface: got "nowhere"'),
    ],
)
def test_errors(text, wanted):
    """What cannot be is refused at its place."""
    assert errors(text) == [wanted]


@pytest.mark.parametrize(
    "name, hint",
    [
        ("cahce", "did you mean cache?"),
        ("example.org", "a Corefile with several server blocks needs braces around each"),
    ],
)
def test_unknown_directive(name, hint):
    """An unknown word gets a hint at what may be meant."""
    with pytest.raises(ConfigErrors) as caught:
        make(f".\n{name} {{\n x\n}}")
    assert caught.value.errors[0].hint == hint


def test_all_errors_together():
    """Faults of keys, words and options of all blocks come in one report, in the order of the file."""
    found = errors("tls://a {\n cache 0\n what\n}\nb {\n forward . x\n kubernetes\n}\nb {\n bind y\n}")
    assert [error.split(":")[0] for error in found] == ["1", "2", "3", "6", "7", "9", "10"]


@pytest.mark.parametrize(
    "text, wanted",
    [
        (".\ncache", "no plugin of this block answers queries"),
        ("__PILLAR__DNS__DOMAIN__:53\n" + FORWARD, 'placeholder is taken for a zone: got "__PILLAR__DNS__DOMAIN__:53"'),
        (".\ncache {\nsuccess 100\n}\n" + FORWARD, 'cache: success capacity is too small: got "100"'),
        (".\nforward . 127.0.0.53", "forward: 127.0.0.53:53 is systemd-resolved's stub"),
        (
            "a {\nreload 10s\n" + FORWARD + "\n}\nb {\nreload\n" + FORWARD + "\n}",
            "reload: differs from that of an earlier block",
        ),
    ],
)
def test_warnings(text, wanted):
    """What works but can hardly be meant is part of the Plan."""
    if "127.0.0.53" in text:
        text = text.replace(".\n", ".:1053\n", 1)
    assert [warning.message for warning in make(text).warnings] == [wanted]


def test_notes_of_the_parser():
    """The parser's notes are among the warnings."""
    note = ConfigError(Position("Corefile", 1, 1), "no file matches *.none")
    options = plan.Options(lambda _: "", lambda _: None, notes=[note])
    with pytest.raises(ConfigErrors):
        plan.resolve((), options, plan.Registry())


def test_shared_http_address():
    """Services over HTTP may share an address, which is one socket: their paths differ."""
    made = make(".\nhealth :9253\nready :9253\nprometheus :9253\nforward . 192.0.2.53")
    assert made.http() == (Address("", 9253),)


def test_merging():
    """Blocks share endpoints of one address; the longest lame duck and the last reload count."""
    made = make(
        "a {\nhealth :8080 {\n lameduck 5s\n}\nprometheus :9253\nready\nreload 10s\nforward . 192.0.2.53\n}\n"
        "b {\nhealth :8080 {\n lameduck 3s\n}\nprometheus :9254\nready\nreload 20s\nforward . 192.0.2.53\n}"
    )
    assert (made.health, made.lameduck_s) == ((Address("", 8080),), 5)
    assert made.prometheus == (Address("", 9253), Address("", 9254))
    assert made.ready == (Address("", 8181),)
    assert made.reload == plan.Reload(20, 10)
    assert make(".\n" + FORWARD).reload is None


# ---- over reloads


def test_cache_id_is_stable():
    """A block's id is the same in every process, forever: the table outlives them."""
    assert f"{make(STOCK).blocks[0].cache_id:016x}" == "b9dd8710388877a2"


@pytest.mark.parametrize(
    "change, same",
    [
        ("", True),
        ("log", True),
        ("errors", True),
        ("prometheus :9253", True),
        ("bind 127.0.0.1", True),
        ("reload", True),
        ("loop", False),
        ("forward example.org 192.0.2.54", False),
    ],
)
def test_cache_id(change, same):
    """Zones, cache and what stands below it decide; what stands above does not."""
    before = make(f". {{\ncache 30\n{FORWARD}\n}}").blocks[0].cache_id
    after = make(f". {{\n{change}\n # more\n cache 30\n{FORWARD}\n}}").blocks[0].cache_id
    assert (before == after) is same


def test_cache_id_of_changed_blocks():
    """Other zones, times or targets are other entries."""
    texts = [
        f"{zone} {{\ncache {ttl}\n forward . {to}\n}}"
        for zone in ("a", "b")
        for ttl in (1, 2)
        for to in ("192.0.2.1", "192.0.2.2")
    ]
    ids = {make(text).blocks[0].cache_id for text in texts}
    assert len(ids) == len(texts)
    assert 0 not in ids


def test_digest():
    """The digest is of what the file says, not of how it looks."""
    one = make(".\n" + FORWARD).digest
    assert len(one) == 128
    assert one == make("# why\n. { " + FORWARD + " }").digest
    assert one != make(".\n" + FORWARD + " 192.0.2.54").digest


def test_indices_are_permanent():
    """Listeners and rows keep their numbers over reloads, also when they go and come back."""
    registry = plan.Registry()
    first = make(f"a {{\nbind 127.0.0.1\n{FORWARD}\n}}\nb {{\nbind 127.0.0.2\n{FORWARD}\n}}", registry)
    second = make(f"c {{\nbind 127.0.0.3\n{FORWARD}\n}}\nb {{\nbind 127.0.0.2\n{FORWARD}\n}}", registry)
    third = make(f"a {{\nbind 127.0.0.1\n{FORWARD}\n}}", registry)
    assert [listener.index for listener in second.listeners] == [1, 2]
    assert third.listeners == first.listeners[:1]
    assert {(row.server, row.zone, row.index) for row in third.rows} <= {
        (r.server, r.zone, r.index) for r in first.rows
    }
    indices = {(row.server, row.zone): row.index for made in (first, second, third) for row in made.rows}
    assert len(set(indices.values())) == len(indices)


def test_failed_reload_takes_no_index():
    """A file that is refused leaves the numbers as they were."""
    registry = plan.Registry()
    make(".\n" + FORWARD, registry)
    too_many = "\n".join(f"z{n}:{1000 + n} {{\n{FORWARD}\n}}" for n in range(70))
    with pytest.raises(ConfigErrors) as caught:
        make(too_many, registry)
    assert caught.value.errors[0].message == "more than 64 listen addresses"
    assert [listener.index for listener in make("a:54\n" + FORWARD, registry).listeners] == [1]


def test_too_many_rows():
    """So do rows end, with a clear word."""
    found = errors("\n".join(f"10.{n}.0.0/17 {{\n bind 127.0.0.1\n {FORWARD}\n}}" for n in range(9)))
    assert set(found) == {"9:1: more than 1024 pairs of listen address and zone"} or found[0].endswith(
        "more than 1024 pairs of listen address and zone"
    )


WORDS = """
{ } success denial servfail prefetch serve_stale verify disable except consolidate class policy random health_check
domain expire force_tcp lameduck kubernetes what 0 1 30 -1 9999999999 10s 5m 1h -1s 10% . example.org 10.0.0.0/8
192.0.2.1 ::1 eth0 :53 :9253 /etc/resolv.conf x( {common} {$X} ""
"""
LINES = st.sampled_from([*order.BUILT_NAMES, *WORDS.split(), "\n", "\n", "\n"])


@given(st.lists(LINES, max_size=40).map(" ".join))
def test_any_configuration(body):
    """Any words in a block are a Plan that can be described, or ConfigErrors, nothing else."""
    try:
        made = make(f". {{\n{body}\n}}")
    except ConfigErrors:
        return
    assert plan.describe(made)


def test_every_plugin_is_reachable():
    """Each built plugin can be used in a Corefile."""
    lines = {
        "bind": "bind 127.0.0.1",
        "forward": FORWARD,
        "prometheus": "prometheus :9253",
        "template": "template IN A",
    }
    made = make(".\n" + "\n".join(lines.get(name, name) for name in order.BUILT_NAMES))
    assert tuple(made.blocks[0].plugins) == order.BUILT_NAMES
