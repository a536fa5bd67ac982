import pytest

from perf.endurance.schedule import CALM_S, END_S, OUTAGE_S, OUTAGES, What, schedule, spared_at


def test_the_seed_decides():
    """The same seed and length give the same schedule, another seed another."""
    assert schedule(1, 600) == schedule(1, 600)
    assert schedule(1, 600) != schedule(2, 600)


@pytest.mark.parametrize("seed", range(30))
def test_order(seed):
    """Events are in order and leave both ends calm; outages do not overlap, and nothing starts cold in one."""
    events = schedule(seed, 300)
    assert events == sorted(events)
    assert events[0].at_s >= CALM_S
    assert events[-1].at_s <= 300 - END_S
    is_out = False
    for event in events:
        if event.what in OUTAGES:
            assert not is_out
            is_out = True
        elif event.what is What.BACK:
            assert is_out
            is_out = False
        assert not (is_out and event.what is What.RELOAD_COLD)
    assert not is_out


@pytest.mark.parametrize("seed", range(30))
def test_longest_silences(seed):
    """The run and its last part begin with the longest silence."""
    ends = [event.at_s for event in schedule(seed, 300) if event.what is What.BACK]
    starts = [event.at_s for event in schedule(seed, 300) if event.what in OUTAGES]
    longest = [start for start, end in zip(starts, ends, strict=True) if end - start == pytest.approx(OUTAGE_S[1])]
    assert longest[0] == CALM_S
    assert any(0 <= start - spared_at(300) < 20 for start in longest)


@pytest.mark.parametrize("seed", range(30))
def test_spared(seed):
    """In the last part of a run nothing ends but the first worker."""
    late = {event.what for event in schedule(seed, 600) if event.at_s >= spared_at(600)}
    assert late <= {What.KILL_FIRST, What.RELOAD_BROKEN, *OUTAGES, What.BACK}


def test_everything_happens():
    """In ten minutes there is something of every kind."""
    assert {event.what for event in schedule(1, 600)} == set(What)
