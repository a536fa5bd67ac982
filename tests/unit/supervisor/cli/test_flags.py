"""The flags of the program: node-cache's own behaviour where it has one, ours where it has none."""

from __future__ import annotations

import pytest

from supervisor.cli import corefiles
from supervisor.cli.flags import ALL, CACHE_MIN_BYTES, Asked, read
from supervisor.cli.gosyntax import FlagError

NO_SETUP = "-setupinterface=false -setupiptables=false"


def understood(arguments: str) -> Asked:
    """The command line, on a machine that is worth 3 workers."""
    return read(arguments.split(), auto_workers=lambda: 3)


def refused(arguments: str) -> str:
    """Why it is refused."""
    with pytest.raises(FlagError) as caught:
        understood(arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    "text, addresses",
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ("127.0.0.1,192.0.2.7", ("127.0.0.1", "192.0.2.7")),
        ("127.0.0.1,::1", ("127.0.0.1", "::1")),
        ("0:0:0:0:0:0:0:1", ("::1",)),
        ("127.0.0.1,127.0.0.1", ("127.0.0.1",)),
    ],
)
def test_localip(text, addresses):
    """One address or several, each once, in canonical form; families may be mixed, which node-cache cannot."""
    assert understood(f"-localip {text} -conf Corefile").options.local_ips == addresses


@pytest.mark.parametrize(
    "text, bad",
    [
        ("127.0.0.1,", ""),
        (",127.0.0.1", ""),
        ("127.0.0.1/32", "127.0.0.1/32"),
        ("localhost", "localhost"),
        ("127.0.0.256", "127.0.0.256"),
        ("127.0.0.01", "127.0.0.01"),
        ("fe80::1%lo", "fe80::1%lo"),
    ],
)
def test_localip_refused(text, bad):
    """What is no address is refused in node-cache's words."""
    assert refused(f"-localip {text} -conf Corefile") == f'invalid localip specified - "{bad}"'


def test_localip_with_a_space_is_refused():
    """The space of "127.0.0.1, 192.0.2.7" makes two arguments; one inside quotes is part of the address."""
    assert refused("-localip 127.0.0.1, 192.0.2.7") == "extra command line arguments: [192.0.2.7]"
    with pytest.raises(FlagError, match='invalid localip specified - "127.0.0.2 "'):
        read(["-localip", "127.0.0.2 ", "-conf", "x"], auto_workers=lambda: 1)


def test_empty_localip_is_refused():
    """As in node-cache, an empty -localip is fatal; without the flag nothing is looked at."""
    assert refused("-localip= -conf Corefile") == 'invalid localip specified - ""'
    assert understood("-conf Corefile").options.local_ips == ()


def test_the_issue_command_line():
    """The command line of a test on loopback is understood as it stands."""
    asked = understood(f"--workers 2 -localip 127.0.0.1 -dns.port 1053 {NO_SETUP} -conf Corefile")
    options = asked.options
    assert (options.workers, options.dns_port, options.conf) == (2, 1053, "Corefile")
    assert options.metrics_address == "0.0.0.0:9353"
    assert asked.warnings == ()


def test_without_conf_and_localip_it_is_a_forwarder():
    """Alone it serves an embedded Corefile on port 1053, without the second metrics listener."""
    options = understood("").options
    assert options.dns_port == corefiles.FORWARDER_PORT
    assert "forward . /etc/resolv.conf" in options.corefile
    assert options.metrics_address == ""
    assert understood("-p 5353").options.dns_port == 5353
    assert understood("-metrics-listen-address 127.0.0.1:9353").options.metrics_address == "127.0.0.1:9353"


def test_the_node_is_set_up_as_the_flags_say():
    """What is served is what interface and rules are made for."""
    node = understood("-localip 169.254.20.10,::1 -p 5353 -conf x -health-port 8099 -skipteardown").options.node
    assert (node.local_ips, node.dns_port, node.health_port) == (("169.254.20.10", "::1"), 5353, 8099)
    assert node.skips_teardown


def test_dead_corefile_flag_is_accepted_with_a_warning():
    """-corefile has no effect in node-cache; whoever gives it learns that."""
    asked = understood("-corefile /etc/Corefile -conf x")
    assert asked.options.conf == "x"
    assert len(asked.warnings) == 1


@pytest.mark.parametrize(
    "arguments, workers",
    [("-conf x", 3), ("-conf x --workers auto", 3), ("-conf x --workers 2", 2), ("-conf x --workers=64", 64)],
)
def test_workers(arguments, workers):
    """A number, or what this machine is worth."""
    assert understood(arguments).options.workers == workers


@pytest.mark.parametrize("text", ["0", "65", "-1", "two", "", "1.5", "²"])
def test_workers_refused(text):
    """Neither auto nor 1 to 64."""
    assert refused(f"-conf x --workers={text}").startswith("-workers must be auto or a number from 1 to 64")


@pytest.mark.parametrize(
    "text, size",
    [("4Mi", CACHE_MIN_BYTES), ("32Mi", 32 << 20), ("1Gi", 1 << 30), ("10M", 10_000_000), ("5000000", 5_000_000)],
)
def test_cache_size(text, size):
    """Sizes as Kubernetes writes them."""
    assert understood(f"-conf x --cache-size {text}").options.cache_size_bytes == size


@pytest.mark.parametrize("text", ["3Mi", "0", "lots", "-5Mi", "32MiB", "65Gi", "1e9", ""])
def test_cache_size_refused(text):
    """Below 4Mi, above 64Gi, or no size."""
    assert "from 4Mi to 64Gi" in refused(f"-conf x --cache-size={text}")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("-dns.port 0", "-dns.port"),
        ("-p dns", "-dns.port"),
        ("-p 65536", "-dns.port"),
        ("--log-format yaml", "-log-format must be one of auto, text, json"),
        ("--log-level chatty", "-log-level must be one of"),
        ("--heartbeat-timeout 1s", "-heartbeat-timeout must be at least 2s"),
        ("--heartbeat-timeout soon", "-heartbeat-timeout"),
        ("--shm-name a/b", "-shm-name"),
        ("--shm-name " + "a" * 201, "-shm-name"),
        ("--control " + "a" * 108, "-control"),
        ("-metrics-listen-address 9353", "-metrics-listen-address"),
        ("-metrics-listen-address localhost:9353", "-metrics-listen-address"),
        ("-metrics-listen-address ::1:9353", "-metrics-listen-address"),
        ("-metrics-listen-address [127.0.0.1]:9353", "-metrics-listen-address"),
        ("-metrics-listen-address 127.0.0.1:http", "-metrics-listen-address"),
        ("extra", "extra command line arguments: [extra]"),
    ],
)
def test_refused(arguments, words):
    """Values that mean nothing are refused with what would."""
    assert words in refused(arguments)


@pytest.mark.parametrize("text", [":9353", "127.0.0.1:9353", "[::1]:9353", "[::]:9353"])
def test_metrics_address(text):
    """An address and a port, or only a port."""
    assert understood(f"-conf x -metrics-listen-address {text}").options.metrics_address == text


def test_empty_metrics_address_turns_it_off():
    """-metrics-listen-address= opens no second listener."""
    assert understood("-conf x -metrics-listen-address=").options.metrics_address == ""


def test_every_flag_says_what_it_is_for():
    """--help has a line for each, and no name is used twice."""
    names = [name for flag in ALL for name in (flag.name, *flag.aliases)]
    assert len(names) == len(set(names))
    assert all(flag.meaning for flag in ALL)
