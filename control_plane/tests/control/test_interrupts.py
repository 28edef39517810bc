"""Signals that end a command."""

import signal

import pytest

from nodus_control.serving.interrupts import catching_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_came_before_the_wait_counts(number: signal.Signals) -> None:
    """Nothing is lost between looking and waiting."""
    with catching_interrupts() as interrupts:
        signal.raise_signal(number)

        assert interrupts.wait() is number


def test_other_signals_end_no_wait() -> None:
    """A resized terminal is no reason to stop."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with catching_interrupts() as interrupts:
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGTERM)

            assert interrupts.wait() is signal.SIGTERM
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_afterwards_everything_is_as_before() -> None:
    """The signal handlers and the wakeup descriptor are put back."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with catching_interrupts():
        pass

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
