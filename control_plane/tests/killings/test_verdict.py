"""What a campaign's checks find: each of the faults that they are for, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from killings.programs import BEGIN, Mark, Program
from killings.verdict import AttemptFacts, Everything, JobFacts, Run, differences, faults, most_at_once

PROGRAM = Program(0, seconds=1.0, status=0, lines=1, gpu_count=1, is_cancelled=False)
JOB = JobFacts("a", "completed", 1, 1000, 1000, None)
ATTEMPT = AttemptFacts("a", 1, "completed")
MARK = Mark(BEGIN, "a", 1)
RUN = Run(100.0, 1.0, ("gpu0",), 0)
SOUND = Everything({"a": PROGRAM}, [JOB], [ATTEMPT], [MARK], {("a", 1): RUN}, gpus=1)


def after(
    *outcomes: str, marks: Sequence[int] = (1,), status: str = "completed", run: Run = RUN, **changes: object
) -> Everything:
    """One job after attempts that ended so, with marks of the attempts that are given."""
    last = len(outcomes)
    return replace(
        SOUND,
        jobs=[replace(JOB, status=status, attempt=last, **changes)],  # type: ignore[arg-type]
        attempts=[AttemptFacts("a", number, outcome) for number, outcome in enumerate(outcomes, start=1)],
        marks=[Mark(BEGIN, "a", number) for number in marks],
        runs={("a", last): run},
    )


@pytest.mark.parametrize(
    "known",
    [
        SOUND,
        after("not_started", "completed", marks=[2]),
        after("lost", "completed", marks=[1, 2]),
        after("lost", "refused", "completed", marks=[3]),
        after("completed", run=replace(RUN, seconds=1.9)),
        replace(after("cancelled", marks=[], status="cancelled"), programs={"a": replace(PROGRAM, is_cancelled=True)}),
    ],
)
def test_nothing_is_wrong(known: Everything) -> None:
    """Where each program ran once, or is shown not to have."""
    assert faults(known) == []


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (replace(SOUND, jobs=[]), "0 jobs of 1 submissions"),
        (replace(SOUND, jobs=[JOB, JOB]), "2 jobs of 1 submissions"),
        (after("completed", marks=[1, 1]), "ran 2 times"),
        (after("completed", marks=[]), "did not run"),
        (after("not_started", "completed", marks=[1, 2]), "is not_started and ran"),
        (after("lost", "completed", marks=[1, 1, 2]), "is lost and ran 2 times"),
        (after("completed", marks=[1, 2]), "nobody knows of it"),
        (after("completed", "completed", marks=[1, 2]), "there was another one after it"),
        (replace(SOUND, attempts=[replace(ATTEMPT, outcome=None)]), "is open"),
        (after("completed", status="running"), "is running"),
        (after("failed", status="failed", error_code="nonzero_exit"), "its program exits with 0"),
        (after("completed", run=replace(RUN, seconds=2.1)), "took 1000 ms, and 2.1 s by its engine"),
        (after("completed", run=replace(RUN, seconds=None)), "does not say how long"),
        (after("completed", run=replace(RUN, status=137)), "exited with 137"),
        (after("completed", cost=999), "cost 999"),
        (replace(SOUND, runs={}), "knows nothing of its last attempt"),
        (after("completed", run=replace(RUN, gpus=("gpu0", "gpu1"))), "asked for 1"),
    ],
)
def test_a_fault_is_named(known: Everything, said: str) -> None:
    """In the line that it is found by."""
    assert said in "\n".join(faults(known))


def test_two_programs_on_one_gpu_are_found() -> None:
    """Which of them, and for how long."""
    other = replace(RUN, began_at=100.5)
    known = replace(SOUND, runs={**SOUND.runs, ("b", 1): other})

    assert any("had GPU gpu0 at once, for 0.50 s" in fault for fault in faults(known))
    assert any("2 GPUs were in use at once, and there are 1" in fault for fault in faults(known))


def test_how_many_gpus_were_in_use_is_counted() -> None:
    """One after the other is not at once."""
    after_it = replace(RUN, began_at=101.0)
    beside_it = replace(RUN, began_at=100.5, gpus=("gpu1", "gpu2"))

    assert most_at_once(replace(SOUND, runs={**SOUND.runs, ("b", 1): after_it})) == 1
    assert most_at_once(replace(SOUND, runs={**SOUND.runs, ("b", 1): beside_it})) == 3


def test_durations_are_compared_with_the_engines() -> None:
    """Where it says how long a program ran."""
    assert differences(after("completed", run=replace(RUN, seconds=1.25))) == {"a": 0.25}
    assert differences(after("completed", run=replace(RUN, seconds=None))) == {}
