"""What a driver's answer means for a job: pure decisions, from a claim and a report to the step that is written."""

from __future__ import annotations

import enum
import math
from dataclasses import replace

from nodus_core.lifecycle import Change, JobStatus
from nodus_ledger.database.rows import AttemptRecord
from nodus_ledger.jobs import outcomes
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.jobs import UNKNOWN
from nodus_ledger.jobs.placements import waited_too_long
from nodus_ledger.jobs.settlement import AttemptEnd, AttemptNews, Step

from ..suppliers.drivers import Terms
from ..suppliers.protocol import PlacementState, Report

POLL_MS = 500
LONGEST_POLL_MS = 60_000
"""How long an engine may be left unasked about something that it runs, whatever it said."""

RETRY_MS = 5_000
UNSERVED_RETRY_MS = 5_000
"""How long a job waits for another worker, which serves its supplier."""

UNWRITABLE_RETRY_MS = 600_000
OVERDUE_GRACE_MS = 60_000
"""How long past its limit a driver may take to end a job by itself."""

SILENCE_MS = 120_000
"""How long the engine of a running job may be silent before nobody can say any more whether it runs."""

PROGRESS_MS = 120_000
LONGEST_START_MS = 7_200_000
"""What is late to start is not ended while it has made progress within `PROGRESS_MS`, until `LONGEST_START_MS`."""

PROOF_GRAIN_MS = 10_000
"""How old the last proof of life on record may be while newer ones come."""

STOPPED_AT_LIMIT = "max_runtime_exceeded"
"""The code with which drivers report a program that was stopped at the limit that they were given."""

FINAL = frozenset(PlacementState) - {PlacementState.PROVISIONING, PlacementState.RUNNING}
"""The states in which, by its engine's word, a program does not run and will not."""

UNREACHABLE = "unreachable"
"""The phase of a job whose engine cannot be asked at the moment."""

_LONGEST_RETRY_MS = 30_000
_LONGEST_PHASE = 64
_LONGEST_TEXT = 500

_LATEST_MS = 253_402_300_799_999  # the end of the year 9999


class ImpossibleReport(Exception):
    """A report that no engine can mean: it holds a time that is no date, or an end before its start."""


class Ending(enum.Enum):
    """Why the worker wants a placement to end."""

    NONE = "none"
    REQUESTED = "requested"
    OUTAGE = "outage"
    OVERDUE = "overdue"
    LATE = "late"
    QUEUE_TIMEOUT = "queue_timeout"


BEFORE_ITS_START = (Ending.LATE, Ending.QUEUE_TIMEOUT)
"""The reasons to end only what has not begun."""


def ending_of(claim: Claim, now: int, terms: Terms) -> Ending:
    """Say whether, and why, a placement is to end. A customer's request takes precedence."""
    job = claim.job
    if job.cancel_requested_at is not None:
        return Ending.REQUESTED
    if claim.supplier_is_out:
        return Ending.OUTAGE
    if job.started_at is not None and now > job.started_at + job.limit_ms(claim.attempt.rate) + OVERDUE_GRACE_MS:
        return Ending.OVERDUE
    if job.queue_deadline is not None and now >= job.queue_deadline and job.status != JobStatus.RUNNING.value:
        return Ending.QUEUE_TIMEOUT
    return Ending.LATE if _is_late(claim, now, terms) else Ending.NONE


def _is_late(claim: Claim, now: int, terms: Terms) -> bool:
    """Say whether a job has taken longer to begin than its supplier may take."""
    job, attempt = claim.job, claim.attempt
    if terms.start_deadline_seconds is None or job.status == JobStatus.RUNNING.value:
        return False
    waited = now - attempt.placed_at
    if waited <= terms.start_deadline_seconds * 1000:
        return False
    makes_progress = attempt.progress_at is not None and now - attempt.progress_at < PROGRESS_MS
    return not makes_progress or waited > LONGEST_START_MS


def refused(claim: Claim, now: int) -> Step:
    """The supplier has no room: the job stays in the queue, for another offer, at once."""
    return Step(claim.job, (), due_at=now, attempt_end=AttemptEnd(outcomes.REFUSED, None, now))


def never_sent(claim: Claim, now: int) -> Step:
    """The submission did not leave this machine, and was the first: the job goes elsewhere meanwhile, at once."""
    return Step(claim.job, (), due_at=now, attempt_end=AttemptEnd(outcomes.NOT_STARTED, None, now))


def unserved(claim: Claim, now: int) -> Step:
    """This worker has no driver for its supplier, or another engine under that name: another worker may have it."""
    return Step(
        claim.job, (), due_at=now + UNSERVED_RETRY_MS, phase=claim.job.phase, phase_detail=claim.job.phase_detail
    )


def unavailable(claim: Claim, detail: str, ending: Ending, now: int, terms: Terms) -> Step:
    """The engine cannot be asked: the job is where it was, and is asked about again, the later the longer it lasts.

    A running job whose engine is silent for `SILENCE_MS`, and one that must end because it did not start, is unknown
    from then on. That ends when the engine answers, or, where the supplier's terms say so, after a while, as lost.
    """
    job, attempt = claim.job, claim.attempt
    heard_at = _heard_at(claim)
    is_silent = job.status == JobStatus.RUNNING.value and now - heard_at >= SILENCE_MS
    since = attempt.unknown_since
    if since is None and (is_silent or ending in BEFORE_ITS_START):
        since = now
    if since is not None and 0 < terms.unknown_grace_seconds * 1000 <= now - since:
        return unconfirmed(given_up(claim, ending, now))
    news = AttemptNews(attempt.engine_ref, since, attempt.seen_at, attempt.progress_at)
    return Step(
        job,
        (),
        due_at=now + min(max((now - heard_at) // 4, RETRY_MS), _LONGEST_RETRY_MS),
        phase=UNREACHABLE if since is None else UNKNOWN,
        phase_detail=_shown(detail, _LONGEST_TEXT),
        news=news if since != attempt.unknown_since else None,
    )


def asked_again(claim: Claim, now: int) -> Step:
    """The driver itself failed, so nothing is known: the job is where it was, whatever its phase says of that.

    One in the queue may have been given to the engine all the same: see `SUBMITTING`.
    """
    job = claim.job
    return Step(job, (), due_at=now + RETRY_MS, phase=job.phase, phase_detail=job.phase_detail)


def given_up(claim: Claim, ending: Ending, now: int) -> Step:
    """Nobody will ever know what became of it: it is lost, and has run until its last proof of life."""
    heard_at = _heard_at(claim)
    ending = ending if ending in (Ending.REQUESTED, Ending.OUTAGE) else Ending.NONE
    return judge(claim, Report(PlacementState.LOST, finished_at=min(heard_at, now) / 1000), ending, now)


def impossible(claim: Claim, now: int, code: str, message: str) -> Step:
    """No supplier of this kind will ever run it: the job fails, without failover."""
    change = Change(to=JobStatus.FAILED, at=now, error_code=code, error_message=message)
    return Step(claim.job, [change], due_at=None, attempt_end=AttemptEnd(JobStatus.FAILED.value, None, now))


def unconfirmed(step: Step) -> Step:
    """Have the attempt keep what it has of its supplier: its program may be running all the same."""
    end = step.attempt_end
    return step if end is None else replace(step, attempt_end=replace(end, is_confirmed=False))


def written_off(claim: Claim, now: int, code: str, message: str, *, is_confirmed: bool) -> Step:
    """Nothing that is known of this job can be used: it fails, and has run until now for all that anybody knows.

    Whether it has ended is another matter: `is_confirmed` says that its engine has said so.
    """
    began = claim.attempt.placed_at if claim.job.started_at is None else claim.job.started_at
    seconds = min(began, now) / 1000, now / 1000
    step = judge(claim, Report(PlacementState.FAILED, *seconds, code, message), Ending.NONE, now)
    return step if is_confirmed else unconfirmed(step)


def judge(claim: Claim, report: Report, ending: Ending, now: int) -> Step:
    """Say what a report means for the job: which transitions, at which times, and when to ask again.

    A report is a claim, and may have been written by the job itself. It moves no clock and no bill beyond what this
    control plane saw: everything lies between the placement and now.

    Raises:
        ImpossibleReport: a time in it is no date, or it ends before it starts.
    """
    if report.state is PlacementState.LOST and report.finished_at is None:
        report = _until_last_heard_of(claim, report)
    started_at, finished_at = _interval(claim, report, now)
    changes = _until_running(claim, started_at, ending, report.state)
    last = _last_change(claim, report, ending, started_at, finished_at)
    if last is None:
        is_running = report.state is PlacementState.RUNNING
        return Step(
            claim.job,
            changes,
            due_at=_until_deadline(claim, _next_look(report, now, simulated=claim.job.is_simulated), now),
            phase=None if is_running else _shown(report.phase, _LONGEST_PHASE),
            phase_detail=None if is_running else _shown(report.phase_detail, _LONGEST_TEXT),
            news=_news(claim.attempt, report, started_at, now),
        )
    changes.append(last)
    outcome = last.to.value
    if last.to is JobStatus.QUEUED:
        assert last.reason is not None
        outcome = last.reason
        if claim.job.status == JobStatus.QUEUED.value and len(changes) == 1:
            changes = []  # it never left the queue
    return Step(claim.job, changes, due_at=now, attempt_end=AttemptEnd(outcome, started_at, finished_at))


def _until_last_heard_of(claim: Claim, report: Report) -> Report:
    """Let what was lost, nobody knows when, have run until the last proof of life, by this control plane's clock."""
    began = report.started_at if claim.job.started_at is None else claim.job.started_at / 1000
    heard_at = _heard_at(claim) / 1000
    return replace(report, started_at=began, finished_at=heard_at if began is None else max(began, heard_at))


def _heard_at(claim: Claim) -> int:
    """When there was last something that the attempt is known to have lived at."""
    return max(claim.attempt.placed_at, claim.job.started_at or 0, claim.attempt.seen_at or 0)


def _news(attempt: AttemptRecord, report: Report, started_at: int | None, now: int) -> AttemptNews | None:
    """Return what a report that ends nothing adds to what is on record of the attempt; None for nothing."""
    seen_at = attempt.seen_at
    if report.state is PlacementState.RUNNING:
        last = max(seen_at or 0, started_at or 0)
        if now - last >= PROOF_GRAIN_MS or attempt.unknown_since is not None:
            seen_at = now
    progress_at = attempt.progress_at
    if report.progress_at is not None and math.isfinite(report.progress_at):
        progress_at = round(min(max(report.progress_at * 1000, 0), now))
    engine_ref = attempt.engine_ref if report.engine_ref is None else _shown(report.engine_ref, _LONGEST_TEXT)
    news = AttemptNews(engine_ref, None, seen_at, progress_at)
    known = AttemptNews(attempt.engine_ref, attempt.unknown_since, attempt.seen_at, attempt.progress_at)
    return None if news == known else news


def _shown(text: str | None, limit: int) -> str | None:
    """Return a driver's text as every database takes it: printable, and not too long."""
    if text is None:
        return None
    return "".join(character if character.isprintable() else " " for character in text)[:limit]


def _interval(claim: Claim, report: Report, now: int) -> tuple[int | None, int]:
    """When the placement began and ended, as far as the report can be believed.

    The length is the engine's, by its one clock, and at most what passed here since the placement. The interval is
    moved to where it fits, not cut. A start that is on record stands.
    """
    placed_at = claim.attempt.placed_at
    reported = None if report.started_at is None else _milliseconds(report.started_at)
    end = None if report.finished_at is None else _milliseconds(report.finished_at)
    if reported is not None and end is not None and end < reported:
        raise ImpossibleReport("it ends before it starts")
    recorded = claim.job.started_at if claim.job.status == JobStatus.RUNNING.value else None
    now = max(now, placed_at if recorded is None else recorded)
    if recorded is not None:
        if end is None:
            return recorded, now
        passed = end - (recorded if reported is None else reported)
        return recorded, recorded + min(max(passed, 0), now - recorded)
    if reported is None:
        at = now if end is None else min(max(end, placed_at), now)
        return (at if report.state is PlacementState.COMPLETED else None), at
    passed = 0 if end is None else min(end - reported, now - placed_at)
    started_at = min(max(reported, placed_at), now - passed)
    return started_at, now if end is None else started_at + passed


def _until_running(claim: Claim, started_at: int | None, ending: Ending, state: PlacementState) -> list[Change]:
    """The transitions up to `running` that the job has not made yet, even if they are noticed late.

    A job whose end was requested before any supplier accepted it was never placed.
    """
    job, attempt = claim.job, claim.attempt
    changes: list[Change] = []
    is_taken = ending is Ending.NONE and state is not PlacementState.NOT_STARTED
    if job.status == JobStatus.QUEUED.value and (is_taken or started_at is not None):
        changes.append(
            Change(
                to=JobStatus.PLACED,
                at=attempt.placed_at,
                supplier=attempt.supplier,
                region=attempt.region,
                micros_per_gpu_hour=attempt.rate,
            )
        )
    if started_at is not None and job.status in (JobStatus.QUEUED.value, JobStatus.PLACED.value):
        changes.append(Change(to=JobStatus.RUNNING, at=started_at))
    return changes


def _last_change(claim: Claim, report: Report, ending: Ending, started_at: int | None, at: int) -> Change | None:
    """The transition that ends the placement; None while it goes on."""
    state, job = report.state, claim.job
    if state is PlacementState.COMPLETED:
        return Change(to=JobStatus.COMPLETED, at=at)
    if state is PlacementState.FAILED and report.error_code == STOPPED_AT_LIMIT and _has_a_lower_limit(claim):
        return _stopped_at_limit(claim, at)
    if state is PlacementState.FAILED:
        return Change(
            to=JobStatus.FAILED,
            at=at,
            error_code=report.error_code or "job_failed",
            error_message=report.error_message or "The job failed.",
        )
    if state not in (PlacementState.CANCELLED, PlacementState.LOST, PlacementState.NOT_STARTED):
        return None
    if ending is Ending.REQUESTED:
        return Change(to=JobStatus.CANCELLED, at=at, reason="requested")
    if ending is Ending.OVERDUE:
        return _stopped_at_limit(claim, at)
    if ending is Ending.QUEUE_TIMEOUT and started_at is None and state is not PlacementState.LOST:
        return waited_too_long(at, job.queue_timeout_seconds or 0)
    if ending is Ending.OUTAGE:
        return Change(to=JobStatus.QUEUED, at=at, reason=outcomes.OUTAGE)
    # That it is lost may be said of what runs on; only an end that was confirmed is one before the start.
    never_ran = started_at is None and (
        state is PlacementState.NOT_STARTED or (ending is Ending.LATE and state is PlacementState.CANCELLED)
    )
    return Change(to=JobStatus.QUEUED, at=at, reason=outcomes.NOT_STARTED if never_ran else outcomes.LOST)


def _stopped_at_limit(claim: Claim, at: int) -> Change:
    """Return the end of a job that was stopped: at its ceiling, where that came first, else at its runtime."""
    if _has_a_lower_limit(claim):
        code, message = "max_cost_exceeded", "The job was stopped before it would have cost more than its max_cost_usd."
    else:
        code, message = STOPPED_AT_LIMIT, "The job was stopped at its max_runtime_seconds."
    return Change(to=JobStatus.FAILED, at=at, error_code=code, error_message=message)


def _has_a_lower_limit(claim: Claim) -> bool:
    """Say whether a job's ceiling ends it before its runtime does."""
    return claim.job.limit_ms(claim.attempt.rate) < claim.job.max_runtime_seconds * 1000


def _until_deadline(claim: Claim, at: int, now: int) -> int:
    """Return when to look again at a job that may not have begun: at the end of its time in the queue at the latest."""
    deadline = claim.job.queue_deadline
    return at if deadline is None or deadline <= now else min(at, deadline)


def _next_look(report: Report, now: int, *, simulated: bool) -> int:
    at = report.next_poll_at
    if at is None or not math.isfinite(at) or at * 1000 > _LATEST_MS:
        return now + POLL_MS
    # A poll before the moment that the driver named would find nothing new. Of what really runs, it cannot be sure.
    named = math.ceil(round(at * 1000, 3))
    return max(now + 1, named if simulated else min(named, now + LONGEST_POLL_MS))


def _milliseconds(seconds: float) -> int:
    if not math.isfinite(seconds) or not 0 <= seconds * 1000 <= _LATEST_MS:
        raise ImpossibleReport("a time in it is no date")
    return round(seconds * 1000)
