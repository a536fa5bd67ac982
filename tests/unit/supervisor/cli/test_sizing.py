import json
from dataclasses import replace

import pytest

from supervisor.cli import sizing
from supervisor.cli.main import main
from supervisor.doctor import check_host
from supervisor.doctor.facts import CgroupSeen
from tests.unit.supervisor.doctor.facts import known

COSTS = sizing.Costs(
    measured="in a test",
    hit_us=((100, 60), (1000, 20), (10_000, 8)),
    miss_us=((100, 200), (1000, 80)),
    idle_millicores=2,
    memory_mib=24,
    memory_per_worker_mib=10,
)


@pytest.mark.parametrize("rate, wanted_us", [(0, 60), (100, 60), (1000, 20), (10_000, 8), (1e6, 8), (316.2278, 34.641)])
def test_cost_between_measured_rates(rate, wanted_us):
    """A cost lies on the line between its neighbours on logarithmic axes, and is flat outside."""
    assert sizing.cost_us(COSTS.hit_us, rate) == pytest.approx(wanted_us, rel=1e-4)


@pytest.mark.parametrize(
    "rate, hits, margin, wanted",
    [
        (0, 0.9, 1, sizing.Request(5, 2.0, 1, 66, 132)),
        (1000, 1, 1, sizing.Request(25, 22.0, 1, 66, 132)),
        (1000, 1, 2, sizing.Request(45, 22.0, 1, 100, 200)),
        (1000, 0, 1, sizing.Request(85, 82.0, 1, 66, 132)),
        (100_000, 1, 1, sizing.Request(805, 802.0, 2, 76, 152)),
    ],
)
def test_request(rate, hits, margin, wanted):
    """CPU is what queries and idling cost, memory what processes take, each times the margin, and the whole cache."""
    assert sizing.reckon(COSTS, rate, hits, margin=margin, cache_bytes=32 << 20) == wanted


def test_more_load_never_wants_less():
    """More queries, and fewer hits, cost more."""
    costs = sizing.load(sizing.COSTS)
    rates = [0, 10, 100, 500, 2000, 8000, 30_000, 100_000]
    for hits in (0.5, 0.9, 1):
        found = [sizing.reckon(costs, rate, hits, margin=1, cache_bytes=0).millicores_used for rate in rates]
        assert found == sorted(found)
    shares = [sizing.reckon(costs, 5000, hits, margin=1, cache_bytes=0).millicores for hits in (1, 0.9, 0.5, 0)]
    assert shares == sorted(shares)


def test_json_and_text(capsys):
    """The command prints a request that can be pasted, or one JSON object."""
    assert main(["sizing", "--qps", "1000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["sizing", "--qps", "1000"]) == 0
    out = capsys.readouterr().out
    assert f"cpu: {found['millicores']}m" in out
    assert f"memory: {found['memory_mib']}Mi" in out
    assert f"of memory: {found['memory_limit_mib']}Mi or more" in out


def test_limit_is_what_the_doctor_wants():
    """A pod with the least limit that is named here is well in the eyes of `shardns doctor`."""
    wanted = sizing.reckon(sizing.load(sizing.COSTS), 1000, 0.9, margin=1, cache_bytes=32 << 20)
    seen = CgroupSeen(memory_limit=wanted.memory_limit_mib << 20)
    options = replace(known().options, cache_size_bytes=32 << 20, workers=wanted.workers)
    assert check_host.memory(replace(known(), options=options), seen).state == "ok"


@pytest.mark.parametrize(
    "words, wanted",
    [
        ([], '-qps must be a number from 0 to 5e+06, got ""'),
        (["--qps", "many"], 'got "many"'),
        (["--qps", "nan"], 'got "nan"'),
        (["--qps", "10", "--hits", "90"], "-hits must be a number from 0 to 1"),
        (["--qps", "10", "--cache-size", "1Ki"], "-cache-size must be a size"),
        (["--qps", "10", "more"], "extra command line arguments"),
    ],
)
def test_refused(words, wanted, capsys):
    """A command line that cannot be reckoned with is refused, with what is wrong."""
    assert main(["sizing", *words]) == 1
    assert wanted in capsys.readouterr().err
