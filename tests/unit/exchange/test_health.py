from random import Random

import pytest

from shardns.exchange.health import BACKOFF_LAST_S, NEVER, Health


def health(max_fails: int = 2) -> Health:
    """Health with CoreDNS's interval."""
    return Health(max_fails, 0.5, Random(1))


@pytest.mark.parametrize("max_fails, downs", [(1, [0, 1, 1, 1]), (2, [0, 0, 1, 1]), (0, [0, 0, 0, 0])])
def test_down_after_more_than_max_fails(max_fails, downs):
    """Down when more checks in a row failed than max_fails; 0 is never down (CoreDNS plugin/pkg/proxy/proxy.go)."""
    state = health(max_fails)
    seen = []
    for n in range(4):
        state.check_started()
        state.check_failed(float(n))
        seen.append(int(state.down))
    assert seen == downs
    state.check_answered()
    assert not state.down


def test_checks_begin_with_trouble_and_end_with_an_answer():
    """No check without trouble; then at once, every interval, until one is answered."""
    state = health()
    assert state.next_check == NEVER
    state.trouble(10.0)
    assert state.next_check == 10.0
    state.trouble(10.1)
    assert state.next_check == 10.0
    state.check_started()
    state.trouble(10.2)
    assert state.next_check == NEVER
    state.check_failed(11.0)
    assert 11.5 <= state.next_check <= 11.55
    state.check_started()
    state.check_answered()
    assert state.next_check == NEVER
    assert state.trouble_is_news


def test_max_fails_0_is_never_checked():
    """Trouble starts nothing where health has no consequence."""
    state = health(0)
    state.trouble(1.0)
    assert state.next_check == NEVER
    assert not state.trouble_is_news


def test_back_off_doubles_to_a_limit():
    """Each failed dial forbids the next for about twice as long, 2 s at most; one that works ends it."""
    state = health()
    waits = []
    for _ in range(12):
        state.dial_failed(100.0, "refused")
        waits.append(state.dial_not_before - 100.0)
    for n, wait in enumerate(waits):
        limit = min(0.1 * 2**n, BACKOFF_LAST_S)
        assert limit / 2 <= wait <= limit
    assert not state.may_dial(100.04)
    assert state.may_dial(102.0)
    state.dial_worked()
    assert state.may_dial(0.0)
