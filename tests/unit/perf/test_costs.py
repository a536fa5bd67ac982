import tomllib

from perf import costs
from supervisor.cli import sizing


def test_sizing_reads_what_is_written(tmp_path):
    """The file made of a result is the one that sizing reads."""
    document = {
        "date": "2026-03-01",
        "commit": "abc",
        "machine": {"cpu": "a processor"},
        "benchmarks": {
            "memory": {
                "table": {
                    "shardns": {"MiB with 10,000 entries": 40},
                    **{
                        f"shardns: {role}": {"MiB with 10,000 entries": 10}
                        for role in ("upstream", "worker 0", "worker 1")
                    },
                }
            },
            "idle": {"figures": [{"name": "idle/cpu", "value": 0.2}]},
            "tcp": {"table": {"shardns": {"CPU us per hit by TCP": 6}}},
            "cost": {"curves": {"shardns hit": [[100, 60], [1000, 20]], "shardns miss": [[100, 200]]}},
            "quota": {
                "table": {
                    "shardns at 25m": {"queries/s held": 3000, "p99 ms": 95, "p99 ms calm": 70},
                    "unbound at 25m": {"queries/s held": 2000, "p99 ms": 99, "p99 ms calm": 80},
                }
            },
        },
    }
    path = tmp_path / "costs.toml"
    path.write_text(costs.text(document))
    found = sizing.load(path)
    assert found.idle_millicores == 2
    assert found.memory_mib == 10
    assert found.memory_per_worker_mib == 10
    assert list(found.hit_us) == [(100, 60), (1000, 20)]
    assert tomllib.loads(path.read_text())["limit"][0]["queries_per_s"] == 3000
    (limit,) = costs.limits(document)
    assert limit.row == "| 25m | 3,000/s | 95 ms | 2,000/s | 1,000/s | 70 ms | 80 ms |"


def test_pages_have_a_row_for_each_limit():
    """What perf/costs.py replaces is there: a row for each limit in both pages, with the numbers that sizing has."""
    limits = tomllib.loads(costs.TARGET.read_text())["limit"]
    assert [limit["millicores"] for limit in limits] == [25, 100, 500]
    for page in costs.TABLES:
        for limit in limits:
            (row,) = [line for line in page.read_text().splitlines() if line.startswith(f"| {limit['millicores']}m |")]
            assert row.split(" | ")[2] == f"{limit['p99_ms']:.0f} ms"
            probe = costs.Limit(limit["millicores"], 1, 2, 3, 4, 5, 6)
            assert probe.row in costs.with_rows(page.read_text(), [probe])


def test_components_say_what_was_measured():
    """A component for every limit, with the rate and the p99 that sizing has."""
    for limit in tomllib.loads(costs.TARGET.read_text())["limit"]:
        text = (costs.COMPONENTS / f"cpu-{limit['millicores']}m" / "kustomization.yaml").read_text()
        assert f"held, with p99 {limit['p99_ms']:.0f} ms" in text
