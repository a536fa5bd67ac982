import pytest

from shardns.exchange.growth import MAX_SERIAL_LINKS, PAUSE_S, TRIAL_S, Growth


def saturated(growth: Growth, now: float, answers: int, rate: float) -> tuple[float, int]:
    """One trial in which all connections are taken all the time; time and answers at its end."""
    steps = 20
    for n in range(steps + 1):
        growth.wanted(answers + int(n * rate * TRIAL_S / steps), now + n * TRIAL_S / steps + 1e-6)
    return now + TRIAL_S, answers + int(rate * TRIAL_S)


@pytest.mark.parametrize(
    "rates, links",
    [
        ([0, 0], 4),  # nothing is answered
        ([200], 8),  # four do not suffice
        ([200, 200, 200], 8),  # and eight bring no more
        ([200, 270], 8),
        ([200, 400, 800, 1600], MAX_SERIAL_LINKS),
    ],
)
def test_doubled_while_it_pays(rates, links):
    """Connections are doubled when they do not suffice, and again when that brought answers."""
    growth = Growth(4)
    now, answers = 100.0, 0
    for rate in rates:
        now, answers = saturated(growth, now, answers, rate)
    assert growth.links == links


def test_short_wants_change_nothing():
    """A burst that is over before the trial is waits for the connections there are."""
    growth = Growth(4)
    for n in range(100):
        growth.wanted(n, 100.0 + n * 2 * PAUSE_S)
    assert growth.links == 4


def test_reset():
    """What was learned is forgotten with the habit."""
    growth = Growth(4)
    saturated(growth, 100.0, 0, 200)
    growth.reset()
    assert growth.links == 4
    saturated(growth, 200.0, 0, 10)
    assert growth.links == 8
