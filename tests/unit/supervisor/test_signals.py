"""Signals that become bytes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading

import pytest

from supervisor.signals import SignalPipe, hold


def test_signals_wait_in_order():
    """What is received can be waited for and is taken once; ignored signals leave no trace."""
    with contextlib.closing(SignalPipe()) as pipe:
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert select.select([pipe], [], [], 5.0)[0]
        assert list(pipe.take()) == [signal.SIGUSR1, signal.SIGTERM]
        assert list(pipe.take()) == []


def test_early_signals_are_kept():
    """SIGTERM and SIGUSR1 that come while the program starts are acted on when it can."""
    hold()
    for number in (signal.SIGUSR1, signal.SIGTERM):  # to this thread: another one of the test run's would take them
        signal.pthread_kill(threading.get_ident(), number)
    with contextlib.closing(SignalPipe()) as pipe:
        assert set(pipe.take()) == {signal.SIGUSR1, signal.SIGTERM}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_handlers_are_given_back(number):
    """After close() the process has the handlers it had before."""
    before = signal.getsignal(number)
    SignalPipe().close()
    assert signal.getsignal(number) is before
