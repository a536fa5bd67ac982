"""What should be on the node."""

import pytest

from shardns.errors import Malformed
from supervisor.doctor import known
from supervisor.options import Options

FACTS = {
    "version": "0.1.0",
    "uptime_s": 12.5,
    "arguments": ["-localip", "169.254.20.10,fd00::10", "-conf", "/etc/Corefile", "--workers", "1", "-p", "54"],
    "listeners": [["169.254.20.10", 54], ["fd00::10", 54]],
    "blocks": [
        {
            "zones": ["cluster.local.", "in-addr.arpa."],
            "listeners": [["169.254.20.10", 54], ["fd00::10", 54]],
            "forwards": [{"targets": [["10.96.0.11", 53]], "force_tcp": True, "prefer_udp": False}],
        },
        {
            "zones": ["."],
            "listeners": [["fd00::10", 54]],
            "forwards": [
                {"targets": [["2001:db8::1", 53], ["10.96.0.11", 53]], "force_tcp": False, "prefer_udp": False}
            ],
        },
    ],
    "http": {"metrics": [":9253"], "health": ["169.254.20.10:8080"], "ready": []},
    "workers": [
        {"serve_silent_s": 0.2, "loop_silent_s": None, "packets_received": 5, "tcp_connections": 2},
    ],
    "upstream_silent_s": 0.1,
}


def test_from_about():
    """Flags, addresses, zones, nameservers and pages come from what the running one says."""
    made = known.from_about(FACTS, "@shardns/x", 7)
    assert (made.source, made.is_running, made.pid, made.version) == ("running", True, 7, "0.1.0")
    assert made.wishes.local_ips == ("169.254.20.10", "fd00::10")
    assert len(made.desired.rules) == 24
    assert made.beats == (known.Beat(0.2, None, 5, 2),)
    assert made.served.listeners == (("169.254.20.10", 54), ("fd00::10", 54))
    assert made.served.zones == (
        ("cluster.local.", ("169.254.20.10", 54)),
        ("in-addr.arpa.", ("169.254.20.10", 54)),
        (".", ("fd00::10", 54)),
    )
    assert made.served.http == (("metrics", ":9253"), ("health", "169.254.20.10:8080"), ("metrics", "0.0.0.0:9353"))


def test_targets():
    """Each nameserver is asked once, for the first zone that goes to it; one force_tcp does not speak for all."""
    first, second = known.from_about(FACTS, "@x", 0).served.targets
    assert (first.label, first.zone, first.by_udp) == ("10.96.0.11:53", "cluster.local.", True)
    assert (second.label, second.zone, second.by_udp) == ("[2001:db8::1]:53", ".", True)


@pytest.mark.parametrize(
    "change, wanted",
    [
        ({"arguments": ["-new-flag"]}, "its command line"),
        ({"listeners": [["127.0.0.1"]]}, "what it says of itself"),
        ({"workers": [{}]}, "what it says of itself"),
        ({"blocks": None}, "what it says of itself"),
    ],
)
def test_another_version(change, wanted):
    """Whatever a running one of another version says, it is understood or refused, never an exception of ours."""
    with pytest.raises(Malformed, match=wanted):
        known.from_about(FACTS | change, "@x", 0)


def test_from_flags(tmp_path):
    """Without a running one the Corefile that the flags name is what should be served."""
    path = tmp_path / "Corefile"
    path.write_text(". {\n bind 127.0.0.1\n forward . 192.0.2.53\n health 127.0.0.1:8080\n}\n")
    made = known.from_flags(Options(workers=1, conf=str(path), dns_port=54))
    assert (made.source, made.is_running) == ("flags", False)
    assert made.served.listeners == (("127.0.0.1", 54),)
    assert [target.label for target in made.served.targets] == ["192.0.2.53:53"]


def test_from_flags_with_errors(tmp_path):
    """A Corefile with errors is told with all of them."""
    path = tmp_path / "Corefile"
    path.write_text(". {\n cache -1\n forward .\n}\n")
    made = known.from_flags(Options(workers=1, conf=str(path)))
    assert len(made.config_errors) == 2
    assert made.config_errors[0].startswith(f"{path}:2:")
