"""forward: targets, options, and which names it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardns.plugins.forward import Config, Stanza, Target
from tests.unit.plugins.setups import Setup, config, errors

ONE = Stanza((".",), (Target("192.0.2.1"),))


def test_defaults():
    """CoreDNS's defaults."""
    assert config("forward . 192.0.2.1") == Config(
        (
            Stanza(
                zones=(".",),
                targets=(Target("192.0.2.1", 53),),
                excepted=(),
                force_tcp=False,
                prefer_udp=False,
                expire_s=10,
                max_age_s=0,
                max_idle_conns=0,
                max_fails=2,
                health_check_s=0.5,
                health_check_rd=True,
                health_check_domain=".",
                policy="random",
                max_concurrent=0,
                failfast=False,
                max_connect_attempts=0,
            ),
        )
    )


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("192.0.2.1", ["192.0.2.1:53"]),
        ("192.0.2.1:5353 dns://192.0.2.2 dns://192.0.2.3:54", ["192.0.2.1:5353", "192.0.2.2:53", "192.0.2.3:54"]),
        ("2001:DB8::1 [2001:db8::2]:54 [2001:db8::3]", ["[2001:db8::1]:53", "[2001:db8::2]:54", "[2001:db8::3]:53"]),
        ("fe80::1%eth0 [fe80::2%eth0]:54", ["[fe80::1%eth0]:53", "[fe80::2%eth0]:54"]),
        ("/etc/resolv.conf", ["192.0.2.53:53", "[2001:db8::53]:53"]),
        ("192.0.2.1 /etc/resolv.conf", ["192.0.2.1:53", "192.0.2.53:53", "[2001:db8::53]:53"]),
    ],
)
def test_targets(text, wanted):
    """Addresses with and without port, and files that name some."""
    assert [target.label for target in config(f"forward . {text}").stanzas[0].targets] == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        (
            "except Example.org 10.0.0.0/8\n except a.example.net",
            {"excepted": ("example.org.", "10.in-addr.arpa.", "a.example.net.")},
        ),
        ("force_tcp", {"force_tcp": True}),
        ("prefer_udp", {"prefer_udp": True}),
        ("expire 30s", {"expire_s": 30}),
        ("max_age 1m", {"max_age_s": 60}),
        ("max_fails 0", {"max_fails": 0}),
        ("health_check 2s", {"health_check_s": 2}),
        ("health_check 2s no_rec", {"health_check_s": 2, "health_check_rd": False}),
        (
            "health_check 2s domain Example.org no_rec",
            {"health_check_s": 2, "health_check_rd": False, "health_check_domain": "example.org."},
        ),
        ("policy round_robin", {"policy": "round_robin"}),
        ("policy sequential", {"policy": "sequential"}),
        ("max_concurrent 1000", {"max_concurrent": 1000}),
        ("failfast_all_unhealthy_upstreams", {"failfast": True}),
        ("max_connect_attempts 3", {"max_connect_attempts": 3}),
    ],
)
def test_options(text, wanted):
    """Each option changes its own values only."""
    assert config(f"forward . 192.0.2.1 {{\n {text}\n}}").stanzas == (replace(ONE, **wanted),)


def test_several():
    """Several directives are several stanzas, in order."""
    made = config("forward example.org 192.0.2.1\nforward . 192.0.2.2")
    assert [(stanza.zones, stanza.targets) for stanza in made.stanzas] == [
        (("example.org.",), (Target("192.0.2.1"),)),
        ((".",), (Target("192.0.2.2"),)),
    ]


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("example.org.", True),
        ("www.example.org.", True),
        ("internal.example.org.", False),
        ("a.internal.example.org.", False),
        ("example.net.", False),
    ],
)
def test_takes(name, wanted):
    """Names below FROM are taken but those excepted; FROM itself always is."""
    stanza = Stanza(("example.org.",), (Target("192.0.2.1"),), excepted=("internal.example.org.",))
    assert stanza.takes(name) is wanted
    everything = Stanza(("example.org.",), (Target("192.0.2.1"),), excepted=(".",))
    assert everything.takes("example.org.")
    assert not everything.takes("www.example.org.")


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("forward", "1:1: forward needs 2 arguments, has 0"),
        ("forward .", "1:1: forward needs 2 arguments, has 1"),
        ("forward a..b 192.0.2.1", '1:9: forward: not a zone: name has an empty label: got "a..b"'),
        ("forward . x", '1:11: forward: neither an address nor a file: got "x"'),
        ('forward . ""', '1:11: forward: not an address: got ""'),
        ("forward . 192.0.2.1:0", '1:11: forward: neither an address nor a file: got "192.0.2.1:0"'),
        ("forward . dns://ns.example.org", '1:11: forward: not an address: got "dns://ns.example.org"'),
        ("forward . tls://192.0.2.1", "1:11: forward: tls:// is not in this version"),
        ("forward . ftp://192.0.2.1", "1:11: forward: unknown scheme ftp://"),
        ("forward . /etc/empty.conf", "1:11: forward: /etc/empty.conf names no nameserver"),
        (
            "forward . /etc/broken.conf",
            '1:11: forward: /etc/broken.conf: not a nameserver\'s address: got "ns.example.org"',
        ),
        (
            "forward . " + " ".join(f"192.0.2.{n}" for n in range(1, 17)),
            "1:167: forward: 16 nameservers, 15 is the limit",
        ),
        ("forward . 192.0.2.1 {\n tls\n}", "2:2: forward: tls is not in this version"),
        ("forward . 192.0.2.1 {\n next NXDOMAIN\n}", "2:2: forward: next is not in this version"),
        ("forward . 192.0.2.1 {\n failover SERVFAIL\n}", "2:2: forward: failover is not in this version"),
        ("forward . 192.0.2.1 {\n force_tpc\n}", '2:2: forward: unknown option: got "force_tpc"'),
        ("forward . 192.0.2.1 {\n force_tcp x\n}", '2:12: forward: force_tcp takes no argument: got "x"'),
        ("forward . 192.0.2.1 {\n except\n}", "2:2: forward: except needs 1 argument, has 0"),
        ("forward . 192.0.2.1 {\n expire -1s\n}", '2:9: forward: expire must not be negative: got "-1s"'),
        ("forward . 192.0.2.1 {\n max_age 5s\n}", "2:2: forward: max_age must not be less than expire"),
        ("forward . 192.0.2.1 {\n max_fails -1\n}", '2:12: forward: max_fails must not be negative: got "-1"'),
        (
            "forward . 192.0.2.1 {\n max_fails 4294967296\n}",
            '2:12: forward: max_fails must be at most 4294967295: got "4294967296"',
        ),
        (
            "forward . 192.0.2.1 {\n health_check x\n}",
            "2:15: forward: health_check: 'x' is not a duration such as 30s, 1m30s or 500ms",
        ),
        ("forward . 192.0.2.1 {\n health_check 1s rec\n}", '2:18: forward: unknown option of health_check: got "rec"'),
        ("forward . 192.0.2.1 {\n health_check 1s domain\n}", "2:18: forward: health_check domain needs a name"),
        ("forward . 192.0.2.1 {\n policy random x\n}", '2:16: forward: policy takes 1 argument: got "x"'),
        (
            "forward . 192.0.2.1 {\n max_idle_conns -1\n}",
            '2:17: forward: max_idle_conns must not be negative: got "-1"',
        ),
        ("forward . 192.0.2.1 {\n policy best\n}", '2:9: forward: unknown policy: got "best"'),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]


def test_all_errors():
    """Faults of all directives and of all their parts come together."""
    assert len(errors("forward a..b x {\n tls\n policy x\n}\nforward . y z")) == 6


@pytest.mark.parametrize(
    "own, target, refused",
    [
        (("192.0.2.10", 53), "192.0.2.10", True),
        (("192.0.2.10", 53), "192.0.2.10:54", False),
        (("192.0.2.10", 53), "127.0.0.1", False),
        (("", 53), "127.0.0.1", True),
        (("", 53), "::1", True),
        (("", 53), "192.0.2.10", True),
        (("", 53), "192.0.2.11", False),
        (("0.0.0.0", 53), "127.0.0.1", True),
        (("", 53), "0.0.0.0", True),
        (("192.0.2.10", 53), "0.0.0.0", False),
        (("", 53), "127.0.0.53", False),
        (("127.0.0.53", 53), "127.0.0.53", True),
        (("", 1053), "127.0.0.1", False),
        (("", 53), "/etc/resolv.conf", False),
        (("192.0.2.53", 53), "/etc/resolv.conf", True),
    ],
)
def test_own_address(own, target, refused):
    """A target that is a listen address of our own is refused, also when a file names it."""
    found = errors(f"forward . {target}", own=(own,))
    assert bool(found) is refused
    assert all("is an address of our own" in error for error in found)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("forward . 127.0.0.53", "forward: 127.0.0.53:53 is systemd-resolved's stub"),
        ("forward . 192.0.2.1 {\n max_idle_conns 4\n}", "forward: max_idle_conns has no effect"),
        ("forward . 192.0.2.1 192.0.2.1:53", "forward: 192.0.2.1:53 is given again"),
        ("forward . 192.0.2.1 {\n force_tcp\n prefer_udp\n}", "forward: prefer_udp has no effect"),
        ("forward . 192.0.2.1 {\n expire 5s\n expire 6s\n}", "forward: expire is given again"),
    ],
)
def test_warnings(text, wanted):
    """What hardly can be meant is told, and works."""
    assert Setup(text).warned == [wanted]


def test_unreachable():
    """A FROM that no name of the block can match is told."""
    made = Setup("forward example.net 192.0.2.1", zones=("example.org.",))
    assert made.warned == ['forward: no query of this block is below: got "example.net"']
    assert Setup("forward a.example.org 192.0.2.1", zones=("example.org.",)).warned == []
