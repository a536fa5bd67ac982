"""Plans from Corefiles."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from shardns.errors import ConfigError, ConfigErrors
from supervisor.options import STDIN, Options
from supervisor.sources import CorefileSource, each, http_keys, listen_addresses, same

TEXT = "example.org {\n bind 127.0.0.1\n forward . 192.0.2.1\n prometheus :9253\n health 127.0.0.1:8080\n}\n"


def source(text: str = "", *, conf: str = "") -> CorefileSource:
    """Of a text, or of what conf names."""
    return CorefileSource(Options(workers=1, conf=conf, corefile=text, dns_port=1053))


def test_listen_addresses_keep_their_numbers(tmp_path: Path):
    """An address that goes and comes back over reloads has the number that it had; no other gets it meanwhile."""
    path = tmp_path / "Corefile"
    plans = source(conf=str(path))
    found = []
    for hosts in ("127.0.0.1 127.0.0.2", "127.0.0.2 127.0.0.3", "127.0.0.1"):
        path.write_text(TEXT.replace("bind 127.0.0.1", f"bind {hosts}"))
        found.append(dict(listen_addresses(plans.load())))
    assert found == [
        {0: ("127.0.0.1", 1053), 1: ("127.0.0.2", 1053)},
        {1: ("127.0.0.2", 1053), 2: ("127.0.0.3", 1053)},
        {0: ("127.0.0.1", 1053)},
    ]


def test_standard_input_is_read_once(monkeypatch):
    """A reload sees what was read at the start."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(TEXT))
    plans = source(conf=STDIN)
    assert plans.load() == plans.load()


def test_imports_are_relative_to_their_file(tmp_path: Path):
    """A Corefile may import files beside it; a change in one is a change of the Plan."""
    (tmp_path / "Corefile").write_text("import parts/*.conf\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.conf").write_text(TEXT)
    plans = source(conf=str(tmp_path / "Corefile"))
    before = plans.load()
    (tmp_path / "parts" / "one.conf").write_text(TEXT.replace("192.0.2.1", "192.0.2.2"))
    assert not same(before, plans.load())


def test_environment_is_put_in(monkeypatch):
    """{$VAR} stands for the environment's."""
    monkeypatch.setenv("ZONE", "example.com")
    plan = source(TEXT.replace("example.org", "{$ZONE}")).load()
    assert plan.blocks[0].zones == ("example.com.",)


def test_bind_to_an_interface():
    """bind takes the name of an interface of this machine."""
    plan = source(TEXT.replace("bind 127.0.0.1", "bind lo")).load()
    assert ("127.0.0.1", 1053) in listen_addresses(plan).values()


@pytest.mark.parametrize(
    "content, words",
    [(None, "No such file or directory"), (b"\xff\xfe", "is not UTF-8"), (b"x" * (17 << 20), "larger than")],
)
def test_unreadable_file(tmp_path: Path, content, words):
    """A file that is not there, is no text or is too large is an error of the configuration."""
    path = tmp_path / "Corefile"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        source(conf=str(path)).load()


def test_errors_come_all_at_once():
    """Everything that is wrong is raised together; a single one can be treated likewise."""
    with pytest.raises(ConfigErrors) as caught:
        source("example.org {\n nonsense\n rubbish\n}\n").load()
    assert len(each(caught.value)) == 2
    alone = ConfigError(None, "x")
    assert each(alone) == (alone,)


@pytest.mark.parametrize(
    "other, wanted",
    [
        (TEXT, True),
        ("# a comment\n\n" + TEXT, True),
        (TEXT.replace("192.0.2.1", "192.0.2.2"), False),
        (TEXT.replace("8080", "8081"), False),
    ],
)
def test_same(other, wanted):
    """Comments and places do not make a difference, meaning does."""
    path_of_warning = TEXT.replace("forward . 192.0.2.1", "cache 30")  # no plugin answers: a warning with its line
    assert same(source(TEXT).load(), source(other).load()) is wanted
    assert same(source(path_of_warning).load(), source("\n\n" + path_of_warning).load())


def test_http_keys():
    """Every address of health, readiness and metrics, and the second one of metrics."""
    plan = source(TEXT).load()
    options = Options(workers=1, metrics_address="0.0.0.0:9353")
    assert http_keys(plan, options) == {":9253", "127.0.0.1:8080", "0.0.0.0:9353"}
    assert http_keys(plan, Options(workers=1)) == {":9253", "127.0.0.1:8080"}
