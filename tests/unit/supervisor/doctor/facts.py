"""Facts for the tables of the checks."""

from __future__ import annotations

import dataclasses
from typing import Any

from supervisor.doctor.known import Beat, Known, Served, Target
from supervisor.network.desired import Wishes
from supervisor.options import Options

LOCAL = "169.254.20.10"
KUBE_DNS = Target("10.96.0.11", 53, "cluster.local.", by_udp=False)
PUBLIC = Target("192.0.2.53", 53, ".", by_udp=True)
BEAT = Beat(0.1, 0.2, 100, 50)


def known(**changes: Any) -> Known:
    """A shardns with two workers on one link-local address; changes are fields of Known, Options or Wishes."""
    wishes = Wishes(local_ips=(LOCAL,))
    options = Options(workers=2, local_ips=(LOCAL,))
    made = Known(
        source="running",
        served=Served(
            listeners=((LOCAL, 53),),
            zones=(("cluster.local.", (LOCAL, 53)),),
            targets=(KUBE_DNS, PUBLIC),
            http=(("health", f"{LOCAL}:8080"),),
        ),
        is_running=True,
        pid=7,
        version="0.1.0",
        uptime_s=60.0,
        beats=(BEAT, BEAT),
    )
    wishes = dataclasses.replace(wishes, **_those(changes, wishes))
    options = dataclasses.replace(options, node=wishes, **_those(changes, options))
    return dataclasses.replace(made, options=options, **_those(changes, made))


def nothing() -> Known:
    """Nothing runs, and no flags are given."""
    return Known(trouble="no shardns runs here")


def _those(changes: dict[str, Any], owner: object) -> dict[str, Any]:
    """The changes that are fields of owner."""
    names = {field.name for field in dataclasses.fields(owner)} - {"node"}  # type: ignore[arg-type]  # dataclasses all
    return {name: value for name, value in changes.items() if name in names}


def shown(found: Any) -> list[tuple[str, str]]:
    """(state, found and remedy) of each."""
    several = [found] if hasattr(found, "state") else found
    return [(one.state, f"{one.found} -> {one.remedy}") for one in several]


def assert_like(found: Any, wanted: list[tuple[str, str]]) -> None:
    """Nothing; each finding has the state wanted, and the text wanted somewhere."""
    got = shown(found)
    assert [state for state, _ in got] == [state for state, _ in wanted], got
    for (_, text), (_, part) in zip(got, wanted, strict=True):
        assert part in text
