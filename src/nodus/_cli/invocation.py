"""One run of the command: what every subcommand gets, and how to go on from there if it is interrupted."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from .._config import DEFAULT_BASE_URL
from .._errors import NodusError
from .output import Output
from .terminal import shell_line

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._hooks import ResponseEvent
    from .failures import Failure


_SIGNAL_NAMES = {2: "Interrupted", 15: "Terminated"}


class Invocation:
    """The output streams, the state to report on an interrupt, and the client.

    Args:
        for_programs: whether `--json` was given.

    Attributes:
        output: where to write.
        pending: what is being done, to be reported if it is interrupted.
        failure: why the command will return another exit status than 0, if it said so itself rather than raising.
    """

    def __init__(self, *, for_programs: bool = False) -> None:
        self.output = Output(for_programs=for_programs)
        self.pending = PendingWork(self.output)
        self.failure: Failure | None = None

    @property
    def base_url(self) -> str:
        """The control plane's address, as the environment gives it."""
        return (os.environ.get("NODUS_BASE_URL") or DEFAULT_BASE_URL).strip().rstrip("/")

    def fail(self, code: str, message: str, *, hint: str | None = None) -> None:
        """Say on stderr why the command is about to return an exit status that is not 0.

        Args:
            code: a stable identifier of what is wrong, for programs.
            message: what is wrong.
            hint: what to do about it, for programs; people have been told.
        """
        from .failures import Failure

        self.failure = self.failure or Failure(code, message, hint=hint)
        self.output.note(message)

    @contextlib.asynccontextmanager
    async def client(
        self, *, on_response: Callable[[ResponseEvent], object] | None = None
    ) -> AsyncIterator[AsyncClient]:
        """Open a client with the settings from the environment, and show its retries.

        Args:
            on_response: called after each response.

        Raises:
            ConfigurationError: there is no key, or a setting is invalid.
        """
        from .failures import shown_retries

        client = _load_client()(on_response=on_response)
        with shown_retries(self.output):
            async with client:
                yield client


def _load_client() -> type[AsyncClient]:
    """Import the library's client, and the HTTP stack with it.

    The garbage collector is off meanwhile, and the modules are exempt from it afterwards: it would search them several
    times, now and at the interpreter's exit, and find nothing. A short command takes about a fifth less time so.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        from .._async.client import AsyncClient
    finally:
        if was_enabled:
            gc.enable()
    if _owns_process():
        gc.freeze()
    return AsyncClient


def _owns_process() -> bool:
    """Whether the process was started for this command, rather than for a program that calls it."""
    started = getattr(sys.modules["__main__"], "main", None)
    return getattr(started, "__module__", None) == __package__


class PendingWork:
    """The submission or job that a command works on, recorded as it progresses, and how to go on if it is interrupted.

    Attributes:
        idempotency_key: the key of a submission that has begun.
        rerun: the command line that submits again with that key.
        job_id: the job that is waited for, once known.
        resume: the command line that continues where this command was, or None.
        cancel: cancels the job, or all of them, and returns its status; set if an interrupt should do that.
        count: how many jobs are submitted or waited for, where they are not one that is named.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self.idempotency_key: str | None = None
        self.rerun: list[str] = []
        self.job_id: str | None = None
        self.resume: str | None = None
        self.cancel: Callable[[], Awaitable[str]] | None = None
        self.count: int | None = None
        self._submitting = False
        self._needs: tuple[str, ...] = ()

    def begin(self, idempotency_key: str, rerun: list[str]) -> None:
        """Record a submission that is about to be sent."""
        self.idempotency_key = idempotency_key
        self.rerun = rerun

    def begin_many(self, count: int, resume: str, *needs: str) -> None:
        """Record that many jobs are about to be submitted, the line that submits the same ones, and what it needs."""
        self.about_all(count, resume, *needs)
        self._submitting = True

    def about_all(self, count: int, resume: str, *needs: str) -> None:
        """Record that many jobs are waited for, the line that waits for the same ones, and what it needs."""
        self.count = count
        self.resume = resume
        self._needs = needs
        self._submitting = False

    def announce(self, number: int) -> None:
        """Say what was interrupted and how to go on."""
        self._output.note(f"{_SIGNAL_NAMES.get(number, 'Stopped')}.")
        if self.cancel is not None:
            what = f"job {self.job_id}" if self.job_id else f"the job with idempotency key {self.idempotency_key}"
            if self.count is not None:
                what = "those of the jobs that are not over"
            self._output.note(f"Cancelling {what}. (Interrupt again to leave at once.)")
            return
        for line in self.advice():
            self._output.note(line)

    async def clean_up(self) -> None:
        """Cancel the job, if that was asked for."""
        if self.cancel is None:
            return
        try:
            status = await self.cancel()
        except NodusError as exc:
            what = "The job" if self.count is None else "One of the jobs"
            self._output.note(f"{what} could not be cancelled: {exc}")
            for line in self.advice():
                self._output.note(line)
        else:
            self._output.note(f"Job {self.job_id} is {status}." if self.count is None else f"They are {status}.")

    def advice_after(self, error: NodusError) -> list[str]:
        """Return the lines that say how to go on after an error; none if it cannot have had any effect."""
        if self.job_id is not None:
            return self._about_job()
        if self.count is not None and not self._submitting:
            return self._about_all()
        return self.advice() if error.outcome_unknown else []

    def advice(self) -> list[str]:
        """Return the lines that say how to go on from here."""
        if self.job_id is not None:
            return [f"Job {self.job_id} goes on.", *self._about_job()]
        if self.count is not None and self._submitting:
            return [
                f"Any of the {self.count:,} jobs may have been submitted.",
                "To submit the others as well, without making a second one of any:",
                *(f"  {line}" for line in (self.resume or "", *self._needs)),
            ]
        if self.count is not None:
            return ["The jobs go on.", *self._about_all()]
        if self.resume is not None:
            return [f"  To go on from there:  {self.resume}"]
        if self.idempotency_key is not None:
            return [
                f"The job may have been submitted, with idempotency key {self.idempotency_key}.",
                "To learn its id, or to submit it if it was not, without making a second one:",
                *(f"  {line}" for line in self.rerun),
            ]
        return []

    def _about_all(self) -> list[str]:
        return [f"  To wait for them again:  {self.resume}", *(f"  {line}" for line in self._needs)]

    def _about_job(self) -> list[str]:
        job_id = self.job_id or ""
        return [
            f"  To watch it again:  {shell_line('nodus', 'wait', job_id)}",
            f"  To cancel it:       {shell_line('nodus', 'cancel', job_id)}",
        ]
