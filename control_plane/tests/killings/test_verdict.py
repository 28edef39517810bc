"""What a campaign's checks find: each of the faults that they are for, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from killings.programs import BEGIN, END, Mark, Program
from killings.verdict import (
    UNKNOWN_EXIT,
    AttemptFacts,
    Everything,
    JobFacts,
    Run,
    count_gaps,
    differences,
    fault_of_output,
    faults,
    most_at_once,
)

PROGRAM = Program(0, seconds=1.0, status=0, lines=1, gpu_count=1, is_cancelled=False)
JOB = JobFacts("a", "completed", 1, 1000, 1000, None)
ATTEMPT = AttemptFacts("a", 1, "completed")
MARKS = [Mark(BEGIN, "a", 1), Mark(END, "a", 1)]
RUN = Run(100.0, 1.0, ("gpu0",), 0)
KILLED = Run(90.0, None, ("gpu0",), None, lived_seconds=4.0)
"""What told of its end was killed."""

SOUND = Everything({"a": PROGRAM}, [JOB], [ATTEMPT], MARKS, {("a", 1): RUN}, gpus=1)


def after(
    *outcomes: str,
    marks: Sequence[int] = (1,),
    ends: Sequence[int] | None = None,
    status: str = "completed",
    run: Run | None = RUN,
    first: Run | None = None,
    **changes: object,
) -> Everything:
    """One job after attempts that ended so, with marks of the attempts that are given, on an engine that may lose.

    The last one has come to its end unless `ends` says which have.
    """
    last = len(outcomes)
    runs = {("a", 1): first, ("a", last): run}
    ended = ends if ends is not None else [number for number in marks if number == last]
    return replace(
        SOUND,
        jobs=[replace(JOB, status=status, attempt=last, **changes)],  # type: ignore[arg-type]
        attempts=[AttemptFacts("a", number, outcome) for number, outcome in enumerate(outcomes, start=1)],
        marks=[*(Mark(BEGIN, "a", number) for number in marks), *(Mark(END, "a", number) for number in ended)],
        runs={key: each for key, each in runs.items() if each is not None},
        may_lose=True,
    )


def cancelled(known: Everything) -> Everything:
    """The same, of a program that its customer cancels."""
    return replace(known, programs={"a": replace(PROGRAM, is_cancelled=True)})


def cut(**changes: object) -> Everything:
    """A job whose first attempt was lost as its engine was killed, and whose second one completed."""
    known = after("lost", "completed", marks=[1, 2], ends=[1, 2])
    first, second = known.attempts
    attempts = [replace(first, placed_at=50_000, **changes), replace(second, placed_at=99_000)]  # type: ignore[arg-type]
    return replace(known, attempts=attempts, may_lose=False, killed_at=[51.0])


UNKNOWN = Run(50.5, 3.0, ("gpu0",), UNKNOWN_EXIT)
"""What an engine says that was killed, and did not hear of the program when it was started again."""


def lost(first: Run | None, **more: object) -> Everything:
    """A job whose first attempt began and was lost, and whose second one completed."""
    return after("lost", "completed", marks=[1, 2], first=first, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "known",
    [
        SOUND,
        after("not_started", "completed", marks=[2]),
        lost(KILLED),
        lost(replace(KILLED, seconds=4.0)),
        lost(KILLED, ends=[1, 2]),
        after("lost", "completed", marks=[2]),
        replace(lost(KILLED), strays=1),
        after("lost", "refused", "completed", marks=[3]),
        cut(),
        replace(cut(started_at=50_500), runs={("a", 1): UNKNOWN, ("a", 2): RUN}),
        replace(cut(), marks=[replace(mark, attempt=2) for mark in MARKS]),
        after("completed", run=replace(RUN, seconds=1.9)),
        cancelled(after("cancelled", marks=[], status="cancelled")),
        cancelled(after("cancelled", marks=[], status="cancelled", run=replace(RUN, gpus=()))),
        cancelled(after("cancelled", marks=[], status="cancelled", run=None, duration_ms=0, cost=0)),
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
        (lost(None), "is lost and began, and its engine knows nothing of it"),
        (lost(replace(KILLED, seconds=1.0, status=0)), "is lost, and its engine says that it exited with 0"),
        (lost(None, ends=[1, 2]), "is lost, and its program came to its end"),
        (lost(replace(KILLED, lived_seconds=None), ends=[1, 2]), "is lost, and its program came to its end"),
        (replace(lost(KILLED), may_lose=False), "by an engine that loses nothing"),
        (replace(cut(), killed_at=[49.0, 99.5]), "by an engine that loses nothing"),
        (cut(started_at=50_500), "by an engine that loses nothing"),
        (replace(cut(), runs={("a", 1): KILLED, ("a", 2): RUN}), "by an engine that loses nothing"),
        (replace(cut(), runs={("a", 1): UNKNOWN, ("a", 2): RUN}, killed_at=[49.0]), "exited with 255"),
        (replace(cut(), runs={("a", 1): replace(UNKNOWN, status=7), ("a", 2): RUN}), "exited with 7"),
        (replace(cut(), marks=[*MARKS, *cut().marks]), "is lost and ran 2 times"),
        (lost(replace(KILLED, lived_seconds=None)), "does not end, and there was another one after it"),
        (lost(replace(KILLED, lived_seconds=10.5)), "ran at once, for 0.50 s"),
        (replace(lost(KILLED), strays=2), "2 programs still ran"),
        (replace(SOUND, strays=1), "1 programs still ran"),
        (after("completed", marks=[1, 2]), "nobody knows of it"),
        (after("completed", "completed", marks=[1, 2]), "there was another one after it"),
        (replace(SOUND, attempts=[replace(ATTEMPT, outcome=None)]), "is open"),
        (after("completed", status="running"), "is running"),
        (after("failed", status="failed", error_code="nonzero_exit"), "its program exits with 0"),
        (after("completed", run=replace(RUN, seconds=2.1)), "took 1000 ms, and 2.1 s by its engine"),
        (after("completed", run=replace(RUN, seconds=None)), "does not say how long"),
        (after("completed", run=replace(RUN, status=137)), "exited with 137"),
        (replace(SOUND, programs={"a": replace(PROGRAM, seconds=2.5)}), "its program takes 2.50 s"),
        (after("completed", ends=[]), "did not come to its end"),
        (cancelled(after("cancelled", marks=[], status="cancelled", run=None)), "its engine knows nothing of it"),
        (cancelled(after("cancelled", ends=[], status="cancelled", run=replace(RUN, gpus=()))), "asked for 1"),
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


def test_a_program_that_does_not_end_keeps_its_gpu() -> None:
    """For all that is known."""
    endless, other = replace(RUN, seconds=None), replace(RUN, began_at=900.0)
    known = replace(SOUND, runs={("a", 1): endless, ("b", 1): other})

    assert any("had GPU gpu0 at once" in fault for fault in faults(known))
    assert most_at_once(known) == 2


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


LONG = replace(PROGRAM, lines=50_000)
BYTES = LONG.output


@pytest.mark.parametrize(
    ("printed", "gaps"),
    [
        (BYTES, 0),
        (b"", 1),
        (BYTES[:-1], 1),
        (BYTES[:100], 1),
        (BYTES[:100_001], 1),
        (BYTES[5_000:], 1),
        (BYTES[:70_003] + BYTES[90_001:], 1),
        (BYTES[:70_003] + BYTES[90_001:200_000] + BYTES[216_384:], 2),
        (BYTES[:29_003] + b"9\n" + BYTES[29_007:], 1),
        (BYTES[: BYTES.index(b"5000\n")] + b"49956\n" + BYTES[BYTES.index(b"10057\n") :], 1),
    ],
)
def test_what_is_missing_of_an_output_is_counted(printed: bytes, gaps: int) -> None:
    """A torn line is one gap, even where it looks like a later one."""
    assert count_gaps(printed, BYTES) == gaps


@pytest.mark.parametrize("printed", [BYTES * 2, BYTES + BYTES[-3_000:], BYTES[:9_000] + BYTES[6_000:]])
def test_what_is_printed_twice_is_many_gaps(printed: bytes) -> None:
    """An engine would have to be killed as often."""
    assert count_gaps(printed, BYTES) > 100


@pytest.mark.parametrize(
    ("killed_at", "printed", "said"),
    [
        ([], BYTES, None),
        ([100.5], BYTES[:9_000] + BYTES[16_000:], None),
        ([102.0], BYTES[:9_000], None),
        ([100.2, 100.4], BYTES[:9_000] + BYTES[16_000:50_000], None),
        ([], BYTES[:9_000], "printed 9000 bytes, not the 288904 of its program"),
        ([90.0, 120.0], BYTES[:9_000], "killed 0 times under it"),
        ([100.5], BYTES[:9_000] + BYTES[16_000:50_000], "2 gaps or more"),
        ([100.5], BYTES * 2, "killed 1 times under it"),
    ],
)
def test_an_output_lacks_only_what_its_engine_was_killed_with(
    killed_at: Sequence[float], printed: bytes, said: str | None
) -> None:
    """One piece each time, while the program ran or a moment later."""
    known = replace(SOUND, programs={"a": LONG}, killed_at=killed_at)
    fault = fault_of_output(("a", 1), printed, known)

    assert fault is said if said is None else said in (fault or "")
