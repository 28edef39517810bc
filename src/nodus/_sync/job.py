# Generated from src/nodus/_async/job.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""A job's handle: the latest snapshot of the job, always replaced whole, and the calls that concern it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, overload

from .. import _arguments, _calls, _http
from .._handles import ClientBound
from .._models import JobAttributes, JobView
from .._poll import DEFAULT_POLL_SECONDS, DEFAULT_UNREACHABLE_SECONDS
from . import polling
from .session import Session

if TYPE_CHECKING:
    from .._concurrency import Text
    from .._resources import LedgerEntry, Routing
    from .event_stream import EventStream
    from .log_stream import LogStream


class Job(JobAttributes, ClientBound):
    """A job that was submitted or looked up.

    `wait()` and `refresh()` update it in place, so that its attributes can be read afterwards without another round
    trip. Not safe to share across threads.

    Two handles are equal if they are of the same job on the same control plane, whatever they last saw of it; to
    compare what they saw, compare their `view`. A handle cannot be pickled or deeply copied, but its `view` can.
    """

    _instead = "use its `view`, a snapshot that can be, or its `id`, from which `client.job()` makes it again"

    __slots__ = ("__weakref__", "_replayed", "_session", "_submitted_at", "_view")

    def __init__(
        self, session: Session, view: JobView, *, replayed: bool = False, submitted_at: float | None = None
    ) -> None:
        self._session = session
        self._view = view
        self._replayed = replayed
        self._submitted_at = submitted_at

    def refresh(self) -> Job:
        """Fetch the job's current state into this handle.

        Raises:
            NotFoundError: the server knows no such job.
            NodusError: any other failure of the call; the handle keeps its previous state.
        """
        self._update(self._session.call(_calls.get_job(self.id), _read_view))
        return self

    def wait(
        self,
        *,
        poll_seconds: float = DEFAULT_POLL_SECONDS,
        timeout_seconds: float | None = None,
        unreachable_seconds: float = DEFAULT_UNREACHABLE_SECONDS,
        on_update: Callable[[Job], object] | None = None,
        cancel_on_exit: bool = False,
    ) -> Job:
        """Poll the job until it is completed, failed or cancelled.

        A control plane that is down, restarts, or answers 429 or 5xx does not end the wait: it is polled less and less
        often until it is back. Leaving the wait, by its timeout or by cancellation, leaves the job running.

        Args:
            poll_seconds: seconds between two polls, above 0; varied by 10 %. A `Retry-After` takes precedence.
            timeout_seconds: seconds to wait, 0 or more; None waits for ever. The job is polled once more at the end.
            unreachable_seconds: when `timeout_seconds` is None, raise the last failure after this many seconds of
                nothing but failures.
            on_update: called with this handle whenever a poll shows something new.
            cancel_on_exit: ask the server to cancel the job if the wait ends before the job does.

        Raises:
            JobTimeoutError: `timeout_seconds` passed first; it is also a `TimeoutError`.
            NodusError: a permanent failure, such as a revoked key.
            ValidationError: (`invalid_argument`) an argument is outside its range.
        """
        try:
            polling.wait_for_job(
                self,
                self._session,
                poll_seconds=poll_seconds,
                timeout_seconds=timeout_seconds,
                unreachable_seconds=unreachable_seconds,
                on_update=on_update,
            )
        except BaseException:
            if cancel_on_exit:
                polling.cancel_on_the_way_out(self, self._session)
            raise
        return self

    def cancel(self) -> Job:
        """Ask the server to cancel the job; has no effect on a job that is already over.

        A running job becomes `CANCELLED` once its supplier confirms, usually within 10 s; `wait()` returns then.

        Raises:
            NodusError: the call failed.
        """
        self._update(self._session.call(_calls.cancel_job(self.id), _read_view))
        return self

    @overload
    def logs(self, *, follow: Literal[False] = False) -> Text: ...
    @overload
    def logs(self, *, follow: Literal[True]) -> LogStream: ...
    @overload
    def logs(self, *, follow: bool) -> Text | LogStream: ...
    def logs(self, *, follow: bool = False) -> Text | LogStream:
        """Fetch what the job has printed so far, as text; bytes that are not UTF-8 become U+FFFD.

        Args:
            follow: return an iterator instead, over pieces of text as the job prints them, until it is over.

        Raises:
            NodusError: the call failed; or, while following, the server does not serve output (`logs_unsupported`).
        """
        if not follow:
            return self._session.call(_calls.job_logs(self.id), _http.text)
        from .log_stream import LogStream

        return LogStream(self._session, self.id, submitted_at=self._submitted_at)

    def events(self, *, after: int | str | None = None) -> EventStream:
        """Iterate over the job's transitions as they happen, from `queued` on, until it is over.

        Iterating does not update this handle; `refresh()` does.

        Args:
            after: the number (`seq`) of the last event that you have already seen; None to start with the first.

        Raises:
            ValidationError: (`invalid_argument`) `after` cannot be the number of an event.
            NodusError: while iterating, a permanent failure, or nothing but failures for 15 minutes.
        """
        from .event_stream import EventStream

        behind = _arguments.event_id(after)
        return EventStream(self._session, job_id=self.id, after=behind, submitted_at=self._submitted_at)

    def routing(self) -> Routing:
        """Explain why the job went where it went: the latest placement decision, with every candidate.

        Raises:
            NodusError: the call failed.
        """
        from .._resources import Routing

        return self._session.call(_calls.job_routing(self.id), lambda response: _http.parse(response, Routing))

    def ledger(self) -> list[LedgerEntry]:
        """Fetch the rows of the Trust Ledger that are about this job, in order.

        Raises:
            NodusError: the call failed.
        """
        from .ledger import Ledger

        return Ledger(self._session).entries(job_id=self.id)

    def _update(self, view: JobView) -> None:
        self._view = view

    @property
    def view(self) -> JobView:
        """The snapshot behind this handle, immutable: safe to keep, compare and pickle."""
        return self._view

    @property
    def submitted_at(self) -> float | None:
        """When `run()` returned this handle, on the client's monotonic clock; None for a handle from elsewhere."""
        return self._submitted_at

    @property
    def replayed(self) -> bool:
        """Whether `run()` returned a job that an earlier submission with the same idempotency key had created."""
        return self._replayed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.id == other.id and self._session.serves_as(other._session)

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> Job:
        return Job(self._session, self._view, replayed=self._replayed, submitted_at=self._submitted_at)

    def _repr_html_(self) -> str:
        """Render the job as a card, for notebooks."""
        from .._card import card

        return card(self._view)

    def __repr__(self) -> str:
        facts = [f"id={self.id!r}", f"status={self.status}"]
        for name in ("supplier", "region", "cost_usd"):
            value = getattr(self, name)
            if value is not None:
                facts.append(f"{name}={value!r}")
        if self.simulated:
            facts.append("simulated=True")
        return f"{type(self).__name__}({', '.join(facts)})"


Job.__module__ = "nodus"


def _read_view(response: _http.Response) -> JobView:
    return _http.parse(response, JobView)
