"""What must be true after a campaign: pure, from what is on record here, what the engine says, and programs' marks."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from killings.programs import BEGIN, END, Mark, Program

MICROS_PER_GPU_MILLISECOND = 1
"""What a GPU costs in a campaign: $3.60 an hour."""

DURATION_SECONDS = 1.0
"""By how much what is billed may differ from what the engine says."""

CLOCK_SECONDS = 0.05
"""By how much two programs on one GPU may seem to overlap: engines round."""

OUTPUT_SECONDS = 5.0
"""For how long after a program's end its engine may still hold some of its output in memory."""

UNKNOWN_EXIT = 255
"""What Docker says of a program that it cannot tell the exit of."""

ENDED = ("completed", "failed", "cancelled")
PASSED_ON = ("lost", "not_started", "refused", "outage")
NEVER_RAN = ("not_started", "refused")

Key = tuple[str, int]
"""A job's id, and the number of an attempt."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job, as it is on record."""

    id: str
    status: str
    attempt: int
    duration_ms: int
    cost: int
    error_code: str | None


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """An attempt, as it is on record; `outcome` is None while it is open. Times are Unix milliseconds."""

    job_id: str
    attempt: int
    outcome: str | None
    placed_at: int = 0
    started_at: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What the engine says of a program that ran: from when to when, on which GPUs, with which exit status.

    Attributes:
        began_at: when it began, in Unix seconds.
        seconds: for how long it ran; None where the engine does not say that.
        gpus: their names.
        status: its exit status; None for one that was not seen to exit.
        lived_seconds: for how long it showed that it lived, where whatever would have told of its end was killed.
    """

    began_at: float
    seconds: float | None
    gpus: tuple[str, ...]
    status: int | None
    lived_seconds: float | None = None

    @property
    def until(self) -> float:
        """When it ended: never, where nothing tells of it."""
        seconds = self.lived_seconds if self.seconds is None else self.seconds
        return math.inf if seconds is None else self.began_at + seconds


@dataclass(frozen=True, slots=True)
class Everything:
    """All that is known after a campaign.

    Attributes:
        programs: what was submitted, by job.
        jobs: those on record.
        attempts: those on record.
        marks: what programs left.
        runs: what the engine says.
        gpus: how many it has.
        strays: how many programs still ran that were over by the record.
        may_lose: what tells of a program's end may be killed with the engine, so that any attempt may be lost.
        killed_at: when an engine was killed that may not know afterwards what it was just starting, or whose parts did
            not find each other again in time, in Unix seconds.
    """

    programs: Mapping[str, Program]
    jobs: Sequence[JobFacts]
    attempts: Sequence[AttemptFacts]
    marks: Sequence[Mark]
    runs: Mapping[Key, Run]
    gpus: int
    strays: int = 0
    may_lose: bool = False
    killed_at: Sequence[float] = ()


def faults(known: Everything) -> list[str]:
    """Return everything that is wrong."""
    return [
        *_of_submissions(known),
        *_of_attempts(known),
        *_of_lost(known),
        *_of_successors(known),
        *(fault for job in known.jobs for fault in _of_job(job, known)),
        *_of_gpus(known),
    ]


def differences(known: Everything) -> dict[str, float]:
    """Return by how many seconds a job's duration differs from its engine's, where the engine says how long it ran."""
    return {
        job.id: abs(job.duration_ms / 1000 - run.seconds)
        for job in known.jobs
        if (run := known.runs.get((job.id, job.attempt))) is not None and run.seconds is not None
    }


def most_at_once(known: Everything) -> int:
    """Return how many GPUs were in use at once."""
    changes: list[tuple[float, int]] = []
    for run in known.runs.values():
        changes.append((run.began_at, len(run.gpus)))
        if run.until < math.inf:
            changes.append((max(run.until - CLOCK_SECONDS, run.began_at), -len(run.gpus)))
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def _of_submissions(known: Everything) -> Iterator[str]:
    """Nothing is lost or doubled."""
    if {job.id for job in known.jobs} != known.programs.keys() or len(known.jobs) != len(known.programs):
        yield f"there are {len(known.jobs)} jobs of {len(known.programs)} submissions"


def _of_attempts(known: Everything) -> Iterator[str]:
    """Each program ran once, or its attempt is shown not to have, and then the next one did."""
    begun = Counter((mark.job_id, mark.attempt) for mark in known.marks if mark.word == BEGIN)
    outcomes = {(each.job_id, each.attempt): each.outcome for each in known.attempts}
    for key in begun.keys() - outcomes.keys():
        yield f"attempt {key} ran, and nobody knows of it"
    for key, outcome in outcomes.items():
        times = begun[key]
        if outcome is None:
            yield f"attempt {key} is open"
        elif times > 1:
            yield f"attempt {key} is {outcome} and ran {times} times"
        elif outcome in NEVER_RAN and times:
            yield f"attempt {key} is {outcome} and ran"
        elif outcome == "completed" and not times:
            yield f"attempt {key} is {outcome} and did not run"
        is_last = (key[0], key[1] + 1) not in outcomes
        if not is_last and outcome not in PASSED_ON:
            yield f"attempt {key} is {outcome}, and there was another one after it"


def _of_lost(known: Everything) -> Iterator[str]:
    """An attempt is lost only where its engine can lose one, and none whose program is known to have ended."""
    lost = {(each.job_id, each.attempt) for each in known.attempts if each.outcome == "lost"}
    begun, ended = ({(mark.job_id, mark.attempt) for mark in known.marks if mark.word == word} for word in (BEGIN, END))
    for key in sorted(lost):
        run = known.runs.get(key)
        if not known.may_lose and _was_cut_off(key, known):
            continue
        if not known.may_lose:
            yield f"attempt {key} is lost, by an engine that loses nothing"
        if run is None and key in begun:
            yield f"attempt {key} is lost and began, and its engine knows nothing of it"
        if run is not None and run.status is not None:
            yield f"attempt {key} is lost, and its engine says that it exited with {run.status}"
        # What was killed after the program's end, and before it could tell of that, has lost it indeed.
        elif key in ended and (run is None or run.until == math.inf):
            yield f"attempt {key} is lost, and its program came to its end"
    if known.strays > (len(lost) if known.may_lose else 0):
        yield f"{known.strays} programs still ran that were over, and {len(lost)} attempts were lost"


def _was_cut_off(key: Key, known: Everything) -> bool:
    """Say whether an engine was killed before the next attempt was placed, and says no more of this one than that.

    Either it was never seen to run it, or says that it exited as it says of what it ended itself, when it was started
    again and did not hear of it in time. No program of a campaign exits with that by itself.
    """
    attempts = {(each.job_id, each.attempt): each for each in known.attempts}
    it, after_it = attempts[key], attempts.get((key[0], key[1] + 1))
    until = math.inf if after_it is None else after_it.placed_at / 1000
    run = known.runs.get(key)
    says_nothing = it.started_at is None if run is None else run.status == UNKNOWN_EXIT
    return says_nothing and any(it.placed_at / 1000 <= killed_at <= until for killed_at in known.killed_at)


def fault_of_output(key: Key, printed: bytes, known: Everything) -> str | None:
    """Say what is wrong with the output of a job's last attempt; None if nothing is.

    All is there, and nothing twice, unless its engine was killed while the program ran: what it held in memory, and
    what was printed to nobody as the program ended, nobody can give back. The rest is in order.
    """
    program, run = known.programs[key[0]], known.runs.get(key)
    if printed == program.output:
        return None
    until = math.inf if run is None else run.until + OUTPUT_SECONDS
    began_at = math.inf if run is None else run.began_at
    kills = sum(began_at - CLOCK_SECONDS <= killed_at <= until for killed_at in known.killed_at)
    gaps = count_gaps(printed, program.output)
    if gaps <= kills:
        return None
    what = f"{len(printed)} bytes, not the {len(program.output)} of its program"
    return f"job {key[0]} printed {what}, with {gaps} gaps or more, and its engine was killed {kills} times under it"


def count_gaps(printed: bytes, expected: bytes) -> int:
    """Return how many pieces are missing of lines that are all different; of what comes twice, every line counts."""
    place = {line: number for number, line in enumerate(expected.split(b"\n")[:-1])}
    *lines, torn = printed.split(b"\n")
    gaps, is_in_gap = 0, False
    before, last = -1, -1
    for line in lines:
        at = place.get(line, -1)
        if at == last + 1:
            before, last, is_in_gap = last, at, False
            continue
        # What is put together of two torn lines may look like a later one: what follows it then seems to go back.
        goes_on = at < 0 or at > (before if is_in_gap else last)
        gaps += not (is_in_gap and goes_on)
        is_in_gap = True
        if goes_on and at >= 0:
            before, last = last if at > last else before, at
    is_cut = bool(torn) or last != len(place) - 1
    return gaps + (is_cut and not is_in_gap)


def _of_successors(known: Everything) -> Iterator[str]:
    """A program has ended before the next attempt's begins."""
    for first, second in itertools.pairwise(sorted(known.runs)):
        if first[0] != second[0]:
            continue
        run, after_it = known.runs[first], known.runs[second]
        if run.until == math.inf:
            yield f"attempt {first} does not end, and there was another one after it"
        elif after_it.began_at < run.until - CLOCK_SECONDS:
            yield f"attempts {first} and {second} ran at once, for {run.until - after_it.began_at:.2f} s"


def _of_job(job: JobFacts, known: Everything) -> Iterator[str]:
    program = known.programs.get(job.id)
    if program is None:
        return
    expected = "failed" if program.status else "completed"
    if job.status not in ENDED:
        yield f"job {job.id} is {job.status}"
    elif job.status != expected and not (program.is_cancelled and job.status == "cancelled"):
        yield f"job {job.id} is {job.status} ({job.error_code}), and its program exits with {program.status}"
    elif job.status == "failed" and job.error_code != "nonzero_exit":
        yield f"job {job.id} failed with {job.error_code}, and its program exits with {program.status}"
    key = (job.id, job.attempt)
    run = known.runs.get(key)
    if job.status != "cancelled" and Mark(END, *key) not in {replace(mark, rest=()) for mark in known.marks}:
        yield f"job {job.id} is {job.status}, and its program did not come to its end"
    if run is None and job.status != "cancelled":
        yield f"job {job.id} is {job.status}, and its engine knows nothing of its last attempt"
    elif run is None and job.duration_ms:
        yield f"job {job.id} took {job.duration_ms} ms, and its engine knows nothing of it"
    elif run is not None:
        difference = differences(known).get(job.id)
        if difference is None:
            yield f"job {job.id} is {job.status}, and its engine does not say how long it ran"
        elif difference >= DURATION_SECONDS:
            yield f"job {job.id} took {job.duration_ms} ms, and {run.seconds} s by its engine"
        # An engine looks at its clock some time after the program has begun.
        if job.status != "cancelled" and run.seconds is not None and run.seconds < program.seconds - DURATION_SECONDS:
            yield f"job {job.id} ran for {run.seconds} s by its engine, and its program takes {program.seconds:.2f} s"
        if job.status != "cancelled" and run.status != program.status:
            yield f"job {job.id}: the engine says that its program exited with {run.status}, not {program.status}"
    if job.cost != job.duration_ms * program.gpu_count * MICROS_PER_GPU_MILLISECOND:
        yield f"job {job.id} took {job.duration_ms} ms on {program.gpu_count} GPUs and cost {job.cost}"


def _of_gpus(known: Everything) -> Iterator[str]:
    """Every program had its GPUs for itself, and there were never more of them than there are."""
    marked = {(mark.job_id, mark.attempt) for mark in known.marks}
    by_gpu: defaultdict[str, list[tuple[float, float, Key]]] = defaultdict(list)
    for key, run in known.runs.items():
        program = known.programs.get(key[0])
        # On a cluster only marks tell of GPUs, and a program may be ended before its first one.
        is_told = bool(run.gpus) or key in marked
        if program is not None and is_told and len(run.gpus) != program.gpu_count:
            yield f"attempt {key} had the GPUs {run.gpus}, and asked for {program.gpu_count}"
        for gpu in run.gpus:
            by_gpu[gpu].append((run.began_at, run.until, key))
    for gpu, uses in by_gpu.items():
        uses.sort()
        for (_, until, first), (began_at, _, second) in itertools.pairwise(uses):
            if began_at < until - CLOCK_SECONDS:
                yield f"attempts {first} and {second} had GPU {gpu} at once, for {until - began_at:.2f} s"
    if most_at_once(known) > known.gpus:
        yield f"{most_at_once(known)} GPUs were in use at once, and there are {known.gpus}"
