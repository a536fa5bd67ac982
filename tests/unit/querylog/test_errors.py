import pytest

from shardns.querylog import ErrorLog, Pattern, error_line, panic_lines

S = 1_000_000_000
TIMEOUT = "read udp 127.0.0.1:1->192.0.2.53:53: i/o timeout"
REFUSED = "dial tcp 192.0.2.53:53: connect: connection refused"


def pattern(regex, period_s=30, **options):
    """A consolidate line."""
    return Pattern(period_s, regex, **options)


def note(log, now_s, error):
    """What the failure of one query prints."""
    return log.note(int(now_s * S), 2, "www.example.org.", "A", error)


def test_a_line_per_error():
    """Without patterns every failed query is a line: rcode, name, type, error."""
    wanted = "[ERROR] plugin/errors: 2 www.example.org. A: read udp 127.0.0.1:1->192.0.2.53:53: i/o timeout"
    assert note(ErrorLog(), 0, TIMEOUT) == wanted
    assert error_line(2, "WWW.example.ORG.", "A", TIMEOUT) == wanted


def test_consolidation():
    """Errors that fit are counted; the count is printed once, a period after the first, and counting starts anew."""
    log = ErrorLog([pattern("i/o timeout$")])
    assert [note(log, t, TIMEOUT) for t in (10, 11, 39.9)] == [None] * 3
    assert log.expire(int(39.9 * S)) == []
    assert log.expire(40 * S) == ["[ERROR] plugin/errors: 3 errors like 'i/o timeout$' occurred in last 30s"]
    assert log.expire(99 * S) == []
    assert note(log, 50, TIMEOUT) is None
    assert log.expire(int(79.9 * S)) == []
    assert len(log.expire(80 * S)) == 1


def test_errors_that_fit_no_pattern_are_printed():
    """Only what fits is held back."""
    assert note(ErrorLog([pattern("i/o timeout$")]), 0, REFUSED).endswith("A: " + REFUSED)


def test_first_pattern_wins():
    """An error is counted once, by the first pattern that fits, with each pattern's period and level."""
    log = ErrorLog([pattern("timeout", 60, level="warning"), pattern("udp|refused", 5, level="info")])
    for error in (TIMEOUT, TIMEOUT, REFUSED):
        assert note(log, 0, error) is None
    assert log.expire(5 * S) == ["[INFO] plugin/errors: 1 errors like 'udp|refused' occurred in last 5s"]
    assert log.expire(60 * S) == ["[WARNING] plugin/errors: 2 errors like 'timeout' occurred in last 1m0s"]


def test_stop_flushes():
    """Shutdown prints what was counted; errors after it are printed one by one."""
    log = ErrorLog([pattern("timeout"), pattern("refused")])
    note(log, 0, REFUSED)
    assert log.stop() == ["[ERROR] plugin/errors: 1 errors like 'refused' occurred in last 30s"]
    assert note(log, 1, REFUSED).startswith("[ERROR] plugin/errors: 2 www")
    assert log.stop() == []


@pytest.mark.parametrize("more, summary", [(0, []), (2, [3])])
def test_show_first(more, summary):
    """show_first prints the first error at the pattern's level; the count comes only if others followed."""
    log = ErrorLog([pattern("timeout", level="warning", show_first=True)])
    assert note(log, 0, TIMEOUT).startswith("[WARNING] plugin/errors: 2 www.example.org. A: read udp")
    assert [note(log, 1, TIMEOUT) for _ in range(more)] == [None] * more
    wanted = [f"[WARNING] plugin/errors: {n} errors like 'timeout' occurred in last 30s" for n in summary]
    assert log.expire(30 * S) == wanted


@pytest.mark.parametrize("debug", [False, True])
def test_debug_level_needs_the_debug_plugin(debug):
    """Lines at level debug are printed only where debugging is on."""
    log = ErrorLog([pattern("timeout", level="debug")], debug=debug)
    note(log, 0, TIMEOUT)
    wanted = ["[DEBUG] plugin/errors: 1 errors like 'timeout' occurred in last 30s"] if debug else []
    assert log.expire(30 * S) == wanted


def test_panic_lines():
    """A bug of ours is one line; the stack follows only where the Corefile says stacktrace."""
    said = "invalid literal for int() with base 10: 'broken'"
    try:
        int("broken")
    except ValueError as error:
        short = panic_lines("dns://127.0.0.1:53", error, stacktrace=False)
        long = panic_lines("dns://127.0.0.1:53", error, stacktrace=True)
    assert short == ['[ERROR] Recovered from panic in server: "dns://127.0.0.1:53" ValueError: ' + said]
    assert long[:1] == short
    assert long[-1] == "ValueError: " + said
    assert any("test_errors.py" in line for line in long)
