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
            "quota": {"table": {"shardns at 25m": {"queries/s held": 3000, "p99 ms": 95, "p99 ms calm": 70}}},
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
