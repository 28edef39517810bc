"""What an interrupted command leaves behind, and how its user can go on from there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .._errors import NodusError
from .output import Output
from .shell import shell_line

_SIGNAL_NAMES = {2: "Interrupted", 15: "Terminated"}


class Underway:
    """The submission or job that a command is busy with, filled in as the command progresses.

    Attributes:
        idempotency_key: the key of a submission that has begun.
        rerun: the command line that submits again with that key.
        job_id: the job that is waited for, once known.
        resume: the command line that continues where this command was, or None.
        cancel: cancels the job and returns its status; set if an interrupt should do that.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self.idempotency_key: str | None = None
        self.rerun: list[str] = []
        self.job_id: str | None = None
        self.resume: str | None = None
        self.cancel: Callable[[], Awaitable[str]] | None = None

    def begin(self, idempotency_key: str, rerun: list[str]) -> None:
        """Record a submission that is about to be sent."""
        self.idempotency_key = idempotency_key
        self.rerun = rerun

    def announce(self, number: int) -> None:
        """Say what was interrupted and how to go on."""
        self._output.note(f"{_SIGNAL_NAMES.get(number, 'Stopped')}.")
        if self.cancel is not None:
            what = f"job {self.job_id}" if self.job_id else f"the job with idempotency key {self.idempotency_key}"
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
            self._output.note(f"The job could not be cancelled: {exc}")
            for line in self.advice():
                self._output.note(line)
        else:
            self._output.note(f"Job {self.job_id} is {status}.")

    def advice_after(self, error: NodusError) -> list[str]:
        """Return the lines that say how to go on after an error; none if it cannot have had any effect."""
        if self.job_id is not None:
            return self._about_job()
        return self.advice() if error.outcome_unknown else []

    def advice(self) -> list[str]:
        """Return the lines that say how to go on from here."""
        if self.job_id is not None:
            return [f"Job {self.job_id} goes on.", *self._about_job()]
        if self.resume is not None:
            return [f"  To go on from there:  {self.resume}"]
        if self.idempotency_key is not None:
            return [
                f"The job may have been submitted, with idempotency key {self.idempotency_key}.",
                "To learn its id, or to submit it if it was not, without making a second one:",
                *(f"  {line}" for line in self.rerun),
            ]
        return []

    def _about_job(self) -> list[str]:
        job_id = self.job_id or ""
        return [
            f"  To watch it again:  {shell_line('nodus', 'wait', job_id)}",
            f"  To cancel it:       {shell_line('nodus', 'cancel', job_id)}",
        ]
