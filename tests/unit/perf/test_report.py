import dataclasses

from perf import report
from perf.figures import Figure, Outcome

QUIET = Figure.over("hits/floor", "hits over the floor", [1.0, 1.02, 1.04], 1.15, 1.05)


def document(**outcomes):
    """A result file with these benchmarks."""
    machine = {"cpu": "a processor", "cpus": 2, "siblings": "0", "kernel": "6.1", "python": "3.11", "load1": 0.5}
    benchmarks = {name: dataclasses.asdict(outcome) for name, outcome in outcomes.items()}
    return {"date": "2026-03-01", "commit": "abc", "machine": machine, "benchmarks": benchmarks}


def test_quiet():
    """A report says that the machine was quiet, and between which values the rounds lay."""
    text = report.text(document(hits=Outcome([QUIET])), {})
    assert "The machine was quiet." in text
    assert "| hits over the floor | 1.02 x | 1 to 1.04 | 1.15 x | 1.05 x | aim |" in text


def test_noisy():
    """A report names the benchmarks that others disturbed and the figures whose rounds lie far apart."""
    noisy = Figure.over("latency/p99", "latency", [0.5, 1.0, 2.0])
    text = report.text(document(hits=Outcome([QUIET], others=0.8), latency=Outcome([noisy])), {})
    assert "Others took processors meanwhile: hits 0.8." in text
    assert "The rounds lie far apart: latency/p99." in text
    assert "quiet" not in text


def test_failed():
    """A benchmark that failed is in the report with its reason, and draws nothing."""
    found = document(hits=Outcome([], failure="shardns: 3 wrong replies"))
    assert "**hits failed**: shardns: 3 wrong replies" in report.text(found, {})


def test_plots(tmp_path):
    """A plot for each benchmark that has the numbers for one, none for one that failed."""
    found = document(
        hits=Outcome([QUIET], {"shardns": {"CPU us per hit": 5.0}, "floor": {"CPU us per hit": 4.5}}),
        misses=Outcome([], failure="no"),
        latency=Outcome([], {}, {}, {"shardns": [(50.0, 0.5), (90.0, 0.01)]}),
        scaling=Outcome([], {}, {}, {"scaling": [(1, 1.0), (2, 1.9)]}),
    )
    pictures = report.draw(found, tmp_path / "a.json")
    assert sorted(pictures.values()) == ["a-hits.svg", "a-latency.svg", "a-scaling.svg"]
    assert all((tmp_path / name).read_text().startswith("<svg") for name in pictures.values())
