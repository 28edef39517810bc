"""Budgets hold against a plain model, whatever is done to them, in whatever order."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from keys.budget_machine import BudgetMachine

CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_no_sequence_passes_the_cap_or_refuses_what_fits() -> None:
    """Never over the cap, nothing refused that would fit, spent is the sum of what settled."""
    run_state_machine_as_test(
        lambda: BudgetMachine("sqlite://"),  # type: ignore[arg-type]  # anything that gives a machine will do
        settings=settings(
            max_examples=50,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=CHECKS,
        ),
    )
