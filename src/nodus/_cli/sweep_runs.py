"""Submits, quotes and shows the jobs of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import asyncclick

from .._enums import GpuType
from .._errors import NodusError, ValidationError
from .._fields import JOB
from . import exit_codes
from .invocation import Invocation
from .jobs import show_job
from .options import read_body
from .output import Output, Painted
from .quoting import without_secrets
from .selection import cancel_rest, wait_for_these
from .submission import Submission, gpu_model
from .sweep_file import InvalidSweepError, SweepFile, read_sweep
from .sweep_sums import Fitting, costs, outcome, show_sum
from .sweeps import MAX_KEY_LENGTH, SweepJob, expand, label_of, merged
from .waiting import CANCEL_SECONDS, WaitOptions

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._async.job import AsyncJob
    from .._models import JobSpec


@dataclass(frozen=True)
class Sweep:
    """The jobs of a file.

    Attributes:
        file: what it says.
        options: what was given besides, by the name of its field, and the idempotency key of all; None for the others.
        jobs: each of them, in order; within their limits.
    """

    file: SweepFile
    options: Mapping[str, Any]
    jobs: Sequence[SweepJob]


def load_sweep(path: str, options: Mapping[str, Any], output: Output) -> Sweep:
    """Read a file, and check every job of it.

    Args:
        path: of the file; `-` for stdin.
        options: the fields that take the place of the file's; None for those that were not given.
        output: where a person at the terminal is told that stdin is read.

    Raises:
        UsageError: it cannot be read or understood, or does not go together with the options.
        ValidationError: a job is outside its limits.
    """
    from .. import _arguments

    try:
        file = read_sweep(read_body(path, output), "stdin" if path == "-" else path)
    except InvalidSweepError as exc:
        raise asyncclick.UsageError(str(exc)) from None
    _require_no_clash(file, options)
    fields = merged(file.fields, options)
    for name in JOB.required:
        if name not in fields:
            raise asyncclick.UsageError(f"{file.name}: `{name}` is missing: add it, or give --{name}.")
    key = fields.get("idempotency_key")
    key = _arguments.new_idempotency_key() if key is None else _arguments.idempotency_key(key)
    if file.matrix and len(key) > MAX_KEY_LENGTH:
        raise ValidationError(
            f"`idempotency_key` must have at most {MAX_KEY_LENGTH} characters where the keys of several jobs are made "
            "from it.",
            code="invalid_idempotency_key",
        )
    fields = {**fields, "idempotency_key": key}
    if "gpu" in fields:
        fields["gpu"] = _possible_gpu(fields["gpu"])
    jobs = expand(fields, file.matrix)
    for job in jobs:
        _check(file, options, job.fields)
    return Sweep(file, {**options, "idempotency_key": key}, jobs)


def show_sweep(output: Output, jobs: Sequence[SweepJob], *, as_json: bool) -> None:
    """Write to stdout what would be submitted; the values of variables are hidden, but for those of the matrix."""
    from .. import _calls
    from .._models import JobSpec

    for number, job in enumerate(jobs, start=1):
        body = without_secrets(json.loads(_calls.submit_job(JobSpec(**job.fields)).body), shown=job.values)
        if as_json:
            spec = {name: value for name, value in body.items() if name != "idempotency_key"}
            output.json({"spec": spec, "idempotency_key": job.idempotency_key})
            continue
        output.data(": ".join(filter(None, (f"Job {number:,} of {len(jobs):,}", job.title))))
        for line in json.dumps(body, indent=2, ensure_ascii=False).splitlines():
            output.data(line)
        output.data("")
    output.note("Nothing was submitted.")


async def quote_sweep(invocation: Invocation, sweep: Sweep, *, as_json: bool) -> int:
    """Ask what the jobs can cost together, show it on stdout, and return the exit status.

    One question answers for all: they differ in nothing that a price or a place depends on.

    Raises:
        NodusError: see `AsyncClient.quote`.
    """
    async with invocation.client() as client:
        await _require_offered(client, sweep)
        quote = await client.quote(**sweep.jobs[0].fields)
    show_sum(invocation.output, quote, Fitting.of(quote, len(sweep.jobs)), as_json=as_json)
    return exit_codes.OK


async def run_sweep(
    invocation: Invocation, sweep: Sweep, submission: Submission, how: WaitOptions, *, wait: bool
) -> int:
    """Submit the jobs, wait for them if asked to, show each on stdout, and return the exit status.

    Args:
        invocation: what the command has.
        sweep: the jobs.
        submission: makes the command line that submits the same again.
        how: how to wait.
        wait: whether to.

    Raises:
        NodusError: no job can have been accepted, or the wait met a permanent failure or its timeout.
    """
    output, pending = invocation.output, invocation.pending
    again = submission.rerun(*how.options(wait=wait))
    async with invocation.client() as client:
        await _require_offered(client, sweep)
        submitting = _Submitting(invocation, client, sweep.jobs, as_json=how.as_json, wait=wait)
        pending.begin_many(len(sweep.jobs), *again)
        if how.cancel_on_interrupt:
            pending.cancel = submitting.cancel
        await submitting.run()
        accepted, refusals = submitting.accepted, submitting.refusals
        output.note(outcome(len(accepted), sum(job.replayed for job in accepted), len(refusals)))
        status = exit_codes.OK
        if wait and accepted:
            pending.about_all(len(accepted), *again)
            status = await wait_for_these(invocation, client, accepted, how)
            output.note(costs([job.view for job in accepted]))
        elif accepted:
            for line in ("To wait for them:", *(f"  {line}" for line in submission.rerun(*how.options(wait=True)))):
                output.note(line)
    if not refusals:
        return status
    return _refused(invocation, refusals, len(sweep.jobs), again)


class _Submitting:
    """The jobs on their way, a batch at a time.

    Attributes:
        accepted: the jobs that were, so far.
        refusals: why the others were not.
    """

    def __init__(
        self, invocation: Invocation, client: AsyncClient, jobs: Sequence[SweepJob], *, as_json: bool, wait: bool
    ) -> None:
        self._output = invocation.output
        self._client = client
        self._jobs = jobs
        self._as_json = as_json
        self._wait = wait
        self._in_flight: Sequence[SweepJob] = ()
        self._stopped = False
        self.accepted: list[AsyncJob] = []
        self.refusals: list[NodusError] = []

    async def run(self) -> None:
        """Submit all of them; after a failure that concerns all, those that are left have it too.

        Raises:
            NodusError: such a failure, and no job was accepted.
        """
        from .._batches import MOST_JOBS

        for first in range(0, len(self._jobs), MOST_JOBS):
            if self._stopped:
                return
            self._in_flight = self._jobs[first : first + MOST_JOBS]
            try:
                outcomes = await self._client.run_many(_specs(self._in_flight))
            except NodusError as exc:
                if not self.accepted:
                    raise
                self._take(self._jobs[first:], [exc] * (len(self._jobs) - first))
                return
            self._take(self._in_flight, outcomes)

    async def cancel(self) -> str:
        """Cancel what was submitted; of those whose answer is not there, submitting again yields the ids."""
        self._stopped = True
        hurried = self._client.with_options(timeout=CANCEL_SECONDS, total_timeout=CANCEL_SECONDS)
        found = await hurried.run_many(_specs(self._in_flight))
        ids = {job.id for job in self.accepted}
        rest = [each for each in found if not isinstance(each, NodusError) and each.id not in ids]
        return await cancel_rest(self._client, [*self.accepted, *rest])

    def _take(self, jobs: Sequence[SweepJob], outcomes: Sequence[AsyncJob | NodusError]) -> None:
        for job, each in zip(jobs, outcomes, strict=True):
            if isinstance(each, NodusError):
                self.refusals.append(each)
                self._show_refusal(job, each)
            else:
                self.accepted.append(each)
                self._show_accepted(job, each)

    def _show_accepted(self, job: SweepJob, handle: AsyncJob) -> None:
        if self._wait:
            if self._output.is_terminal:
                self._output.note("  ".join(filter(None, (handle.id, job.title))))
        elif self._as_json:
            show_job(self._output, handle.view, as_json=True)
        else:
            self._output.data("  ".join(filter(None, (handle.id, job.title if self._output.is_terminal else ""))))

    def _show_refusal(self, job: SweepJob, error: NodusError) -> None:
        if self._as_json:
            from .failures import failure_of

            labels = {label_of(name): text for name, text in job.values.items()}
            told = {**asdict(failure_of(error)), "labels": labels, "idempotency_key": job.idempotency_key}
            self._output.json(told)
        else:
            self._output.note(Painted("Not submitted:", "red"), f" {job.title}: " if job.title else " ", str(error))


def _refused(invocation: Invocation, refusals: Sequence[NodusError], count: int, again: Sequence[str]) -> int:
    from .failures import hint

    first = refusals[0]
    advice = ["To submit those too, without making a second one of any:", *(f"  {line}" for line in again)]
    if text := hint(first):
        advice.insert(0, text)
    message = f"{len(refusals):,} of {count:,} jobs were not submitted: {first.message}"
    invocation.fail(first.code, message, hint="\n".join(line.strip() for line in advice))
    for line in advice:
        invocation.output.note(line)
    return exit_codes.of_error(first)


async def _require_offered(client: AsyncClient, sweep: Sweep) -> None:
    """Refuse a GPU model that neither this version knows nor anybody offers.

    Raises:
        NodusError: it is one, or that cannot be asked.
    """
    fields = sweep.jobs[0].fields
    if isinstance(fields.get("gpu"), GpuType):
        _check(sweep.file, sweep.options, {**fields, "gpu": await gpu_model(client, fields["gpu"].value)})


def _require_no_clash(file: SweepFile, options: Mapping[str, Any]) -> None:
    for variable in file.matrix:
        for option, name, taken in (("--env", "env", variable), ("--label", "labels", label_of(variable))):
            if taken in (options.get(name) or {}):
                place = file.place("matrix", variable)
                raise asyncclick.UsageError(f"{option} {taken} is set by `{variable}` too ({place}): leave one out.")


def _check(file: SweepFile, options: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Refuse a job outside its limits.

    Raises:
        ValidationError: it is; the field's line is told where the file has it.
    """
    error = _invalid(fields)
    if error is None:
        return
    place = file.place(*path) if (path := _wrong_path(file, options, fields)) else file.name
    raise ValidationError(f"{place}: {error.message}", code=error.code)


def _wrong_path(file: SweepFile, options: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which key of the file is outside its limits by itself; nothing if none is."""
    for name in file.fields:
        value = fields[name]
        if options.get(name) is not None or not _invalid({"image": "a", name: value}):
            continue
        inner = list(value.items()) if isinstance(value, Mapping) else []
        wrong = next((key for key, text in inner if _invalid({"image": "a", name: {key: text}})), None)
        return (name,) if wrong is None else (name, wrong)
    return ()


def _invalid(fields: Mapping[str, Any]) -> ValidationError | None:
    from .._models import JobSpec

    try:
        JobSpec(**fields)
    except ValidationError as exc:
        return exc
    return None


def _specs(jobs: Sequence[SweepJob]) -> list[JobSpec]:
    from .._models import JobSpec

    return [JobSpec(**job.fields) for job in jobs]


def _possible_gpu(gpu: str) -> GpuType | str:
    """Return a model that this version does not know as one that may be offered."""
    from .. import _arguments

    model = GpuType(gpu)
    return gpu if model.is_known or not _arguments.is_gpu_model(gpu) else model
