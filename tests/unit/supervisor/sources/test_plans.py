"""What the supervisor asks of a Plan."""

from __future__ import annotations

import pytest

from shardns.errors import ConfigError, ConfigErrors
from supervisor.options import Options
from supervisor.sources import CorefileSource, each, http_keys, same

TEXT = "example.org {\n bind 127.0.0.1\n forward . 192.0.2.1\n prometheus :9253\n health 127.0.0.1:8080\n}\n"


def source(text: str) -> CorefileSource:
    """Of a text."""
    return CorefileSource(Options(workers=1, corefile=text, dns_port=1053))


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
