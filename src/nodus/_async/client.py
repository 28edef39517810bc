"""The client: the verbs, and nothing else."""

from __future__ import annotations

import builtins
import random
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

from .. import _arguments, _calls, _fields, _http
from .._concurrency import AsyncClock
from .._config import (
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    Settings,
)
from .._enums import JobStatus
from .._handles import ClientBound
from .._logs import logger, set_up_from_environment
from .._models import JobSpec, JobView
from .._poll import DEFAULT_POLL_SECONDS, DEFAULT_UNREACHABLE_SECONDS
from .completion import AsyncCompletedJobs
from .job import AsyncJob
from .job_iterator import AsyncJobIterator
from .session import AsyncHTTPClient, AsyncSession, OnResponse, OnRetry

if TYPE_CHECKING:
    from datetime import date, datetime

    from typing_extensions import Self, Unpack

    from .._concurrency import AsyncText
    from .._enums import GpuType
    from .._errors import NodusError
    from .._fields import JobFields, JobFilters
    from .._resources import KeyView, Offer, Quote, Routing
    from .._usage import Usage
    from .event_stream import AsyncEventStream
    from .ledger import AsyncLedger
    from .log_stream import AsyncLogStream
    from .webhooks import AsyncWebhooks


class AsyncClient(ClientBound):
    """A client of the Nodus REST API. One per process is enough: it keeps its connections open and reuses them.

    Use it as a context manager, or call `aclose()` when you are done.

    Args:
        api_key: the key, `nk_live_…` or `nk_test_…`. Default: the environment variable `NODUS_API_KEY`.
        base_url: the API's address; `https`, unless its host is loopback. Default: the environment variable
            `NODUS_BASE_URL`, else `https://api.nodus.run`.
        timeout: how long one attempt at a request may take, in seconds, above 0: waiting for a free connection,
            resolving the host's name, connecting, sending and reading together.
        max_retries: how many times to retry after a transient failure (network, 408, 409, 425, 429, 5xx); 0 disables
            retries.
        total_timeout: how long a whole call may take, in seconds, including retries and the pauses between them;
            None for no limit.
        signing_secret: the key's `sgn_…` secret, with which every request is signed. Default: the environment
            variable `NODUS_SIGNING_SECRET`, if the key came from the environment too.
        max_connections: how many connections may be open at once, 1 or more; further requests wait their turn.
        http_client: an object with httpx's `send` method, such as an httpx client with your own transports or hooks,
            to use instead of the built-in pool. Closing it remains your responsibility.
        on_retry: called with a `RetryEvent` before each retry.
        on_response: called with a `ResponseEvent` after each response.

    Raises:
        ConfigurationError: there is no key (`missing_api_key`), or a setting is invalid. Nothing is sent.
    """

    _instead = "share it as it is, use `with_options()`, or create one in each place"

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        total_timeout: float | None = None,
        signing_secret: str | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        http_client: AsyncHTTPClient | None = None,
        on_retry: OnRetry | None = None,
        on_response: OnResponse | None = None,
        _clock: AsyncClock | None = None,
        _rng: random.Random | None = None,
    ) -> None:
        settings = Settings.resolve(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            total_timeout=total_timeout,
            signing_secret=signing_secret,
            max_connections=max_connections,
        )
        set_up_from_environment()
        self._session = AsyncSession(
            settings, http_client=http_client, clock=_clock, rng=_rng, on_retry=on_retry, on_response=on_response
        )

    @_fields.JOB.spell_out
    async def run(self, **fields: Unpack[JobFields]) -> AsyncJob:
        """Submit a job and return its handle at once, without waiting for the job to run.

        The submission carries an idempotency key, so a retry never creates a second job. If you wrap this call in a
        timeout of your own, pass a key: a cancelled call cannot tell you which key it generated (it logs it at INFO).

        Args:
            **fields: the job's, as in `JobFields`.

        Raises:
            ValidationError: the spec is outside its limits (`invalid_spec`, nothing was sent), or the server refused
                it.
            BudgetExceededError: the job might take the key past its monthly cap.
            SupplierUnavailableError: no supplier can take the job right now.
            NodusError: any other failure. `.idempotency_key` is the key to submit again with, and `.outcome_unknown`
                says whether the job may exist.
        """
        _fields.JOB.check_names("run", fields)
        call = _calls.submit_job(JobSpec(**fields))
        logger.info("submitting a job with idempotency key %s", call.idempotency_key)
        view, replayed = await self._session.call(call, _http.parse_submission)
        return AsyncJob(self._session, view, replayed=replayed, submitted_at=self._session.clock.now())

    @_fields.JOB.spell_out
    async def quote(self, **fields: Unpack[JobFields]) -> Quote:
        """Ask what `run` would meet now with the same arguments: where the job would go, and what it can cost at most.

        Nothing is reserved, and nothing promised. A job that does not fit the budget is no error here: `fits` is
        False, and `largest_fitting` says what would.

        Args:
            **fields: the job's, as in `JobFields`.

        Raises:
            ValidationError: the spec is outside its limits (`invalid_spec`, nothing was sent), or the server would
                refuse it.
            NodusError: any other failure.
        """
        _fields.JOB.check_names("quote", fields)
        from .._resources import Quote

        return await self._session.call(_calls.quote(JobSpec(**fields)), lambda response: _http.parse(response, Quote))

    async def run_many(self, specs: Iterable[JobSpec | JobFields]) -> builtins.list[AsyncJob | NodusError]:
        """Submit many jobs in few requests; return each one's handle, or why it was not accepted, in the order given.

        Up to 200 jobs share a request, and each is accepted or refused by itself. What the server has no room for at
        the moment (409, 429, 503) is sent again, as `max_retries` allows. It is safe to call again with specs that
        have an `idempotency_key` each: what was accepted is found. A job without one gets one, which its error has.
        `total_timeout` holds for each request.

        Args:
            specs: the jobs, as `JobSpec` objects or as mappings of the arguments of `run`.

        Returns:
            A handle, or a `NodusError` with `.idempotency_key` and `.outcome_unknown`, for each. After a failure that
            concerns all jobs, such as a lost connection, the others are not sent and have that error.

        Raises:
            ValidationError: a spec is outside its limits (`invalid_spec`, its number is told). Nothing was sent.
            NodusError: the first request failed, and no job was accepted.
        """
        from .._batches import Accepted, ManySubmissions
        from .submission import submit_many

        many = ManySubmissions(specs)
        session, submitted_at = self._session, self._session.clock.now()
        await submit_many(session, many)
        return [
            AsyncJob(session, each.view, replayed=each.replayed, submitted_at=submitted_at)
            if isinstance(each, Accepted)
            else each
            for each in many.outcomes
            if each is not None
        ]

    async def get(self, job_id: str) -> AsyncJob:
        """Look up a job.

        Raises:
            NotFoundError: there is no such job, or it belongs to another customer.
            ValidationError: (`invalid_job_id`) this cannot be a job id; nothing was sent.
            NodusError: any other failure.
        """
        return AsyncJob(self._session, await self._session.call(_calls.get_job(job_id), _read_view))

    @_fields.FILTERS.spell_out
    async def list(self, *, limit: int = 50, **filters: Unpack[JobFilters]) -> builtins.list[AsyncJob]:
        """List the customer's most recent jobs, newest first.

        Args:
            limit: the most jobs to return, 1 or more; the server caps it at 200.
            **filters: those of a listing, as in `JobFilters`.

        Raises:
            ValidationError: (`invalid_argument`) `limit` is below 1, or a filter fits no job; nothing was sent.
            NodusError: any other failure.
        """
        _fields.FILTERS.check_names("list", filters)
        query = _fields.filter_query(filters)
        page = await self._session.call(_calls.list_jobs(limit=limit, filters=query), _http.parse_page)
        views = [view for view in page.jobs if _fields.fits(view, query)]
        return [AsyncJob(self._session, view) for view in views[:limit]]  # a server may ignore the limit

    @_fields.FILTERS.spell_out
    def iter_jobs(self, *, page_size: int = 50, **filters: Unpack[JobFilters]) -> AsyncIterator[AsyncJob]:
        """Iterate over all of the customer's jobs, newest first, fetching a page at a time.

        Args:
            page_size: jobs per request, 1 or more; the server caps it at 200.
            **filters: those of a listing, as in `JobFilters`.

        Raises:
            ValidationError: (`invalid_argument`) `page_size` is below 1, or a filter fits no job; nothing was sent.
            NodusError: while iterating, any other failure.
        """
        _fields.FILTERS.check_names("iter_jobs", filters)
        size = _arguments.whole_number("page_size", page_size, minimum=1)
        return AsyncJobIterator(self._session, page_size=size, filters=_fields.filter_query(filters))

    def job(self, job_id: str) -> AsyncJob:
        """Make a handle without a request, to follow a job that another process submitted.

        Its status is unknown (`status.is_known` is False) until `refresh()` or `wait()`.

        Raises:
            ValidationError: (`invalid_job_id`) this cannot be a job id.
        """
        view = JobView(id=_arguments.job_id(job_id), status=JobStatus("unknown"))
        return AsyncJob(self._session, view)

    def events(self, job_id: str | None = None, *, after: int | str | None = None) -> AsyncEventStream:
        """Iterate over the transitions of all of the customer's jobs as they happen, on one connection.

        The stream begins with past transitions and goes on until you leave it. With a job's id, it has the transitions
        of that job alone, and ends with the job.

        Args:
            job_id: follow only this job.
            after: start after this event: its `id`, or, when following one job, its `seq`. `"latest"` skips everything
                that has already happened.

        Raises:
            ValidationError: (`invalid_job_id`, `invalid_argument`) an argument cannot be an id.
            NodusError: while iterating, a permanent failure, or nothing but failures for 15 minutes.
        """
        if job_id is not None:
            return self.job(job_id).events(after=after)
        from .event_stream import AsyncEventStream

        return AsyncEventStream(self._session, after=_arguments.event_id(after))

    @overload
    def logs(self, job_id: str, *, follow: Literal[False] = False) -> AsyncText: ...
    @overload
    def logs(self, job_id: str, *, follow: Literal[True]) -> AsyncLogStream: ...
    @overload
    def logs(self, job_id: str, *, follow: bool) -> AsyncText | AsyncLogStream: ...
    def logs(self, job_id: str, *, follow: bool = False) -> AsyncText | AsyncLogStream:
        """Fetch what a job has printed so far, or follow it; arguments and errors as in `job.logs()`."""
        return self.job(job_id).logs(follow=follow)

    async def routing(self, job_id: str) -> Routing:
        """Explain why a job went where it went: the latest placement decision, with every candidate.

        Raises:
            NodusError: the call failed.
        """
        return await self.job(job_id).routing()

    async def wait_all(
        self,
        jobs: Iterable[AsyncJob],
        *,
        poll_seconds: float = DEFAULT_POLL_SECONDS,
        timeout_seconds: float | None = None,
        unreachable_seconds: float = DEFAULT_UNREACHABLE_SECONDS,
    ) -> builtins.list[AsyncJob]:
        """Wait until every job is over; return the same handles in the order given, updated in place.

        Ten thousand jobs cost fifty requests per round, because their state is read from pages of the live jobs.

        Args:
            jobs: handles of this customer's jobs.
            poll_seconds: seconds between two rounds, above 0; varied by 10 %.
            timeout_seconds: seconds to wait for all of them together; None waits for ever.
            unreachable_seconds: when `timeout_seconds` is None, raise the last failure after this many seconds of
                nothing but failures.

        Raises:
            JobTimeoutError: `timeout_seconds` passed first; `.job` is one of those that had not ended.
            NodusError: a permanent failure.
            ValidationError: (`invalid_argument`) an argument is outside its range.
        """
        given = builtins.list(jobs)
        async for _ in self.as_completed(
            given, poll_seconds=poll_seconds, timeout_seconds=timeout_seconds, unreachable_seconds=unreachable_seconds
        ):
            pass
        return given

    def as_completed(
        self,
        jobs: Iterable[AsyncJob],
        *,
        poll_seconds: float = DEFAULT_POLL_SECONDS,
        timeout_seconds: float | None = None,
        unreachable_seconds: float = DEFAULT_UNREACHABLE_SECONDS,
    ) -> AsyncIterator[AsyncJob]:
        """Iterate over jobs in the order in which they end; arguments and errors as in `wait_all`."""
        return AsyncCompletedJobs(
            jobs,
            self._session,
            poll_seconds=poll_seconds,
            timeout_seconds=timeout_seconds,
            unreachable_seconds=unreachable_seconds,
        )

    async def healthz(self) -> dict[str, object]:
        """Check that the control plane is up: a smoke test for deployments. Sends no credentials.

        Raises:
            NodusError: it is not up, or cannot be reached.
        """
        return await self._session.call(_calls.healthz(), _http.parse_object)

    async def offers(self, *, gpu: GpuType | str | None = None) -> builtins.list[Offer]:
        """Fetch the price list: what the suppliers that this key may use offer, by GPU model the cheapest first.

        Args:
            gpu: list only offers of this GPU model, as a `GpuType` or its wire value. Names are the operator's own.

        Raises:
            ValidationError: (`invalid_argument`) `gpu` cannot be the name of a model; nothing was sent.
            NodusError: any other failure.
        """
        return await self._session.call(_calls.offers(gpu=gpu), _read_offers)

    async def usage(
        self,
        *,
        month: str | None = None,
        from_: datetime | date | str | None = None,
        to: datetime | date | str | None = None,
        group_by: str | Iterable[str] = (),
        labels: Mapping[str, str | None] | None = None,
        simulated: bool | None = None,
    ) -> Usage:
        """Ask what jobs have cost: those that have ended. An agent's key sees its own jobs only.

        Args:
            month: of this month (UTC), such as `"2026-10"`; by default of the present one.
            from_: in place of a month: of jobs that ended then or later, as a time, a date (UTC) or RFC 3339.
            to: of jobs that ended before, likewise.
            group_by: one or several of `principal_kind`, `key`, `supplier`, `kind`, `region`, `gpu`, `status`, `day`,
                `month`, and `label:` with a label's key.
            labels: only of jobs with these labels; None stands for any value.
            simulated: of simulated jobs, or of all others: they are never added up. By default False, or True where
                all suppliers are simulated.

        Raises:
            ValidationError: (`invalid_argument`) an argument is malformed; nothing was sent.
            NodusError: any other failure; `too_many_groups` if there would be more than 10,000.
        """
        from .._usage import Usage, usage_query

        query = usage_query(month=month, from_=from_, to=to, group_by=group_by, labels=labels, simulated=simulated)
        return await self._session.call(_calls.usage(query), lambda response: _http.parse_groups(response, Usage))

    async def key(self) -> KeyView:
        """Fetch the calling key and its budget: what is spent, reserved and left this month.

        Raises:
            NodusError: the call failed.
        """
        from .._resources import KeyView

        return await self._session.call(_calls.key(), lambda response: _http.parse(response, KeyView))

    # Loaded when first used: most programs submit jobs and wait for them.
    @property
    def webhooks(self) -> AsyncWebhooks:
        """The endpoints that events are delivered to."""
        from .webhooks import AsyncWebhooks

        return AsyncWebhooks(self._session)

    @property
    def ledger(self) -> AsyncLedger:
        """The customer's Trust Ledger."""
        from .ledger import AsyncLedger

        return AsyncLedger(self._session)

    def with_options(
        self,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        total_timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncClient:
        """Return a client with other settings that shares this one's connections.

        Closing it leaves this client open.

        Args:
            timeout: how long one attempt may take, in seconds, above 0; None keeps this client's.
            max_retries: how many times to retry after a transient failure; None keeps this client's.
            total_timeout: how long a whole call may take, in seconds, above 0; None keeps this client's.
            headers: headers to add to every request; the SDK's own, such as `Authorization`, cannot be replaced.

        Raises:
            ConfigurationError: a setting is invalid.
        """
        settings = self._session.settings.changed(
            timeout=timeout, max_retries=max_retries, total_timeout=total_timeout, headers=headers
        )
        child = object.__new__(type(self))
        child.__dict__.update(self.__dict__)  # what a subclass has added included
        child._session = self._session.sharing_pool(settings)
        return child

    async def aclose(self) -> None:
        """Close the client's connections; closing twice is harmless. Later calls raise `ConfigurationError`."""
        await self._session.aclose()

    @property
    def is_closed(self) -> bool:
        """Whether `aclose()` was called."""
        return self._session.is_closed

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._session.settings.base_url!r})"

    def __del__(self) -> None:
        session: AsyncSession | None = getattr(self, "_session", None)
        if session is not None and session.is_leaking:
            message = f"unclosed {self!r}: use it as a context manager, or call its close method"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    async def __aenter__(self) -> Self:
        self._session.check_usable()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


AsyncClient.__module__ = "nodus"


def _read_view(response: _http.Response) -> JobView:
    return _http.parse(response, JobView)


def _read_offers(response: _http.Response) -> list[Offer]:
    from .._resources import OfferList

    return _http.parse(response, OfferList).offers
