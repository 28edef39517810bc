"""When an engine that does not answer is left alone, and when it is asked again."""

from __future__ import annotations

from nodus_control.dispatch.circuit import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, THRESHOLD, Circuit


def broken(now: float = 0.0, times: int = THRESHOLD) -> Circuit:
    """A circuit after so many failures."""
    circuit = Circuit()
    for _ in range(times):
        circuit = circuit.failed(now)
    return circuit


def test_a_few_failures_change_nothing() -> None:
    """Engines hiccup; and those before an answer do not count any more."""
    almost = broken(times=THRESHOLD - 1)

    assert almost.admits(0.0)
    assert not almost.is_open
    assert almost.succeeded() == Circuit()


def test_it_opens_after_failures_in_a_row() -> None:
    """Then nothing is asked for a while."""
    circuit = broken()

    assert circuit.is_open
    assert not circuit.admits(FIRST_PAUSE_SECONDS / 2)


def test_one_probe_is_let_through_at_a_time() -> None:
    """The others wait for what becomes of it."""
    circuit = broken()
    assert circuit.admits(FIRST_PAUSE_SECONDS)
    probing = circuit.called()

    assert not probing.admits(FIRST_PAUSE_SECONDS * 100)
    assert probing.is_open
    assert probing.succeeded() == Circuit()
    assert not probing.failed(10.0).admits(10.0)


def test_what_was_under_way_when_it_opened_changes_nothing() -> None:
    """Eight calls that fail together are one failure of the engine: it is probed as soon as after three."""
    assert broken(times=8) == broken()


def test_calls_of_a_closed_circuit_are_no_probes() -> None:
    """Any number of them may be under way."""
    assert Circuit().called() == Circuit()


def test_a_probe_that_fails_doubles_the_pause_up_to_a_limit() -> None:
    """An engine that is gone for a day is asked twice a minute."""
    pauses = []
    circuit = broken()
    for _ in range(30):
        pauses.append(circuit.probe_at)
        circuit = circuit.called().failed(0.0)

    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
