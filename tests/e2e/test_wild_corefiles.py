"""Corefiles of public deployments, written anew from what is known of them: each loads, and each answers.

What this version has not is refused by name, with its line; the file without those lines loads. To run them, addresses
are replaced by loopback ones, and every nameserver by unbound.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from tests.e2e import shardns as program
from tests.peers.client import ask, flags, rcode, texts

WILD = Path(__file__).parents[1] / "corefiles" / "wild"
FILES = sorted(WILD.glob("*.Corefile"))
ENV = {"MY_HOST_IP": "192.0.2.10"}
WEB = "web.default.svc.cluster.local."

# What has to go, as (word of the line, what is said of it), in the order of the file.
REFUSED = {
    "kops-ipv6-only": [("dns64", "plugin dns64 is not in this version")],
    "kubekey": [
        ("loadbalance", "plugin loadbalance is not in this version"),
        ("rewrite", "plugin rewrite is not in this version"),
        ("tls", "forward: tls is not in this version"),
        ("tls_servername", "forward: tls_servername is not in this version"),
    ],
    "kubespray": [("rewrite", "plugin rewrite is not in this version")],
    "lablabs": [("debug", "plugin debug is not in this version")],
}
# Deployments that answer AAAA with nothing, for names outside the cluster and inside; those with hosts entries.
NO_AAAA = {"deliveryhero", "giantswarm", "lablabs"}
NO_AAAA_INSIDE = {"deliveryhero"}
HOSTS = {"kubekey": "192.0.2.20", "kubespray": "192.0.2.20", "lablabs": "192.0.2.20"}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def wild(request):
    """The file of a deployment."""
    return request.param


def without(text: str, words: list[str]) -> str:
    """The text without the lines that begin with one of the words, and without what stands in their braces."""
    kept: list[str] = []
    depth = 0
    for line in text.splitlines():
        if depth or (line.split() and line.split()[0] in words):
            depth += line.count("{") - line.count("}")
        else:
            kept.append(line)
    return "\n".join([*kept, ""])


def usable(file: Path) -> str:
    """The file's text without what is refused."""
    return without(file.read_text(), [word for word, _ in REFUSED.get(file.stem, [])])


def runnable(file: Path, port: int, hosts: Path) -> str:
    """The same on loopback: bind, ports and paths replaced, every nameserver UPSTREAM; imports written out."""
    text = usable(file)
    for found in re.findall(r"^ *import (.+)$", text, re.MULTILINE):
        text = text.replace(f"import {found}", "".join(part.read_text() for part in sorted(WILD.glob(found))))
    text = re.sub(r"^ *bind .+$", "bind 127.0.0.1", text, flags=re.MULTILINE)
    text = re.sub(r"^( *forward \S+) [^{\n]+", r"\1 UPSTREAM ", text, flags=re.MULTILINE)
    text = re.sub(r"^ *prometheus .+$", "prometheus METRICS", text, flags=re.MULTILINE)
    text = re.sub(r"^ *health\b.*$", "health HEALTH", text, flags=re.MULTILINE)
    text = text.replace("/etc/coredns/hosts", str(hosts))
    return re.sub(r":53\b(?=[^{\n]*\{$)", f":{port}", text, flags=re.MULTILINE)


def check(file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """Exit code of shardns check, and the errors it prints."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    code, _, err = program.run("check", str(file))
    return code, [line for line in err.splitlines() if line.startswith(str(file))]


def test_check(wild, tmp_path, monkeypatch):
    """A deployment's own file loads, or names exactly the lines that are not built; without them it loads."""
    code, said = check(wild, monkeypatch)
    refused = REFUSED.get(wild.stem, [])
    assert code == bool(refused)
    lines = wild.read_text().splitlines()
    assert len(said) == len(refused)
    for (word, reason), error in zip(refused, said, strict=True):
        place, _, rest = error.partition(": ")
        number, column = (int(part) for part in place.rsplit(":", 2)[1:])
        assert rest.startswith(reason)
        assert lines[number - 1][column - 1 :].split()[0] == word
    for part in ("custom", "generated-config"):
        (tmp_path / part).symlink_to(WILD / part)
    stripped = tmp_path / wild.name
    stripped.write_text(usable(wild))
    assert check(stripped, monkeypatch) == (0, [])


@pytest.fixture
def hosts_file():
    """A hosts file that the upstream process may read, which is nobody to pytest's own folders."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "hosts"
        path.write_text("192.0.2.20 registry.example.org\n")
        yield path


def test_answers(wild, launch, kube_dns, hosts_file, port):
    """Cluster names, reverse names and names outside are answered by UDP and TCP, again from the cache."""
    text = runnable(wild, port, hosts_file)
    served = launch(text, upstream=f"{kube_dns.host}:{kube_dns.port}", port=port, env=ENV)
    for _ in range(2):
        for tcp in (False, True):
            for name, rtype, wanted in (
                (WEB, "A", ["10.96.10.1"]),
                (WEB, "AAAA", [] if wild.stem in NO_AAAA_INSIDE else ["fd00:10:96::a01"]),
                ("1.10.96.10.in-addr.arpa.", "PTR", [WEB]),
                ("www.example.org.", "A", ["192.0.2.80"]),
                ("www.example.org.", "AAAA", [] if wild.stem in NO_AAAA else ["2001:db8::80"]),
            ):
                answer = ask(name, rtype, port=port, tcp=tcp)
                assert (rcode(answer), _data(answer)) == ("NOERROR", wanted), (name, rtype)
    assert rcode(ask("missing.default.svc.cluster.local", port=port)) == "NXDOMAIN"
    assert served.http("HEALTH", "/health")[0] == 200
    assert served.scrape().total("coredns_cache_hits_total") > 0


@pytest.mark.parametrize("name", HOSTS)
def test_hosts(name, launch, kube_dns, hosts_file, port):
    """Their hosts entries answer with AA, and what they do not have falls through."""
    text = runnable(WILD / f"{name}.Corefile", port, hosts_file)
    launch(text, upstream=f"{kube_dns.host}:{kube_dns.port}", port=port, env=ENV)
    answer = ask("registry.example.org", port=port)
    assert _data(answer) == [HOSTS[name]]
    assert "AA" in flags(answer)
    assert _data(ask("www.example.org", port=port)) == ["192.0.2.80"]


def test_the_fixtures_are_documented():
    """docs/plugins/README.md says of each deployment what has to go, and of no other."""
    text = (WILD.parents[2] / "docs" / "plugins" / "README.md").read_text()
    rows = dict(re.findall(r"^\| (\S+)\.Corefile \| [^|]+ \| ([^|]*?) \|$", text, re.MULTILINE))
    assert rows.keys() == {file.stem for file in FILES}
    for name, said in rows.items():
        wanted = [f"`{word}`" for word, _ in REFUSED.get(name, [])]
        assert re.findall(r"`[^`]+`", said) == wanted


def _data(answer):
    """The data of the answer's records."""
    return [line.split(" ", 3)[3] for line in texts(answer)]
