"""Every way a call can fail.

NodusError
├── ConfigurationError          before any network call: missing key, unusable setting, closed client
├── AuthenticationError         401, 403
├── SignatureError              401 with a signature code, and a delivery that does not verify
├── BudgetExceededError         402
├── NotFoundError               404
├── ValidationError             400, 422, and what the SDK refuses before sending (also a ValueError)
├── RateLimitError              429
├── SupplierUnavailableError    503
├── APIError                    any other status, and an answer that cannot be used
├── APIConnectionError          the network failed: DNS, TCP, TLS, proxy
│   └── APITimeoutError         no answer in time
├── LedgerError                 rows, a checkpoint or a proof of the Trust Ledger do not verify
└── JobTimeoutError             a wait ended before the job did (also a TimeoutError)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict, TypeVar

if TYPE_CHECKING:
    from ._enums import JobStatus

_Error = TypeVar("_Error", bound="NodusError")


class NodusError(Exception):
    """The base of every error that this library raises.

    Attributes:
        code: a stable identifier such as `"invalid_spec"`; the server's, if it sent one.
        message: what happened and what to do next, for people.
        status_code: the HTTP status, or None if no response came.
        request_id: the server's `X-Request-Id`, to quote to support, or None.
        payload: the parsed JSON body of the response, or None.
        retry_after: after how many seconds the server asked to be tried again, or None.
        attempts: how many times the request was attempted; 0 if it never was.
        idempotency_key: the key of a call that has one; repeat the call with this key to learn or finish its outcome.
        outcome_unknown: True if the server may have acted although the call failed.
    """

    default_code = "error"

    code: str
    message: str
    status_code: int | None
    request_id: str | None
    payload: object
    retry_after: float | None
    attempts: int
    idempotency_key: str | None
    outcome_unknown: bool

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
        payload: object = None,
        retry_after: float | None = None,
        attempts: int = 0,
        idempotency_key: str | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.status_code = status_code
        self.request_id = request_id
        self.payload = payload
        self.retry_after = retry_after
        self.attempts = attempts
        self.idempotency_key = idempotency_key
        self.outcome_unknown = outcome_unknown

    def __str__(self) -> str:
        facts = [self.code]
        if self.status_code is not None:
            facts.append(f"HTTP {self.status_code}")
        if self.request_id is not None:
            facts.append(f"request {self.request_id}")
        return f"{self.message} ({', '.join(facts)})"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code!r}, status_code={self.status_code!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.__dict__.copy())


class ConfigurationError(NodusError):
    """A setting is missing or invalid; nothing was sent."""

    default_code = "invalid_configuration"


class AuthenticationError(NodusError):
    """The server did not accept the API key (401), or the key may not do this (403)."""

    default_code = "invalid_api_key"


class SignatureError(NodusError):
    """`Nodus-Signature` was missing, stale or failed verification.

    From the server: `signature_invalid` (sign again with the right secret), `signature_stale` (correct the clock),
    `signing_secret_unavailable` (rotate the key).

    From `construct_event`: `signature_missing`, `signature_malformed`, `signature_invalid`; and, if the MAC is right,
    `signature_stale`, `signature_future` (one of the two clocks is wrong, or the delivery is a replay) and
    `signature_replayed`.
    """

    default_code = "signature_invalid"


class Headroom(TypedDict):
    """What every 402 answer says, in US dollars."""

    monthly_spend_cap_usd: float
    month_to_date_usd: float
    estimated_cost_usd: float


@dataclass(frozen=True, slots=True)
class Fitting:
    """A number of GPUs, and how long they may run.

    Attributes:
        gpu_count: number of GPUs.
        max_runtime_seconds: seconds.
    """

    gpu_count: int
    max_runtime_seconds: int


@dataclass(frozen=True, slots=True)
class LargestFitting:
    """What of a job would fit a key's budget now.

    Attributes:
        max_runtime_seconds: the most seconds with which it would be accepted, all else as asked; None if none would do.
        gpu_count: the most GPUs, all else as asked; None if no number would do.
        both: the most GPUs, at most those that were asked for, with which any time would do, and the most time with
            them; None if nothing fits.
    """

    max_runtime_seconds: int | None = None
    gpu_count: int | None = None
    both: Fitting | None = None

    def fields(self) -> dict[str, int]:
        """Return the fields of the job to change so that it fits: the time, else the GPUs, else both; empty if none."""
        if self.max_runtime_seconds is not None:
            return {"max_runtime_seconds": self.max_runtime_seconds}
        if self.gpu_count is not None:
            return {"gpu_count": self.gpu_count}
        if self.both is not None:
            return {"gpu_count": self.both.gpu_count, "max_runtime_seconds": self.both.max_runtime_seconds}
        return {}


class BudgetPayload(Headroom, total=False):
    """What a 402 answer says, in US dollars: enough to shrink the job and submit again."""

    realised_usd: float
    in_flight_usd: float
    resets_at: str
    largest_fitting: dict[str, object]
    error: str
    message: str
    request_id: str


class BudgetExceededError(NodusError):
    """The submission would take the key past its monthly spend cap (402).

    `payload["monthly_spend_cap_usd"] - payload["month_to_date_usd"]` is what is left, in US dollars.
    """

    default_code = "budget_exceeded"

    payload: BudgetPayload  # pyright: ignore[reportIncompatibleVariableOverride]  # nobody sets it from outside

    @property
    def largest_fitting(self) -> LargestFitting | None:
        """What of the job would be accepted now; None if the server does not say."""
        payload: object = self.payload
        told = payload.get("largest_fitting") if isinstance(payload, dict) else None
        if not isinstance(told, dict):
            return None
        gpus, seconds = _numbers(told.get("both"))
        both = None if gpus is None or seconds is None else Fitting(gpus, seconds)
        gpu_count, longest = _numbers(told)
        return LargestFitting(longest, gpu_count, both)


class NotFoundError(NodusError):
    """What was asked for does not exist, or belongs to another customer (404)."""

    default_code = "not_found"


class ValidationError(NodusError, ValueError):
    """The server refused the request as invalid (400, 422), or the SDK did before sending (`status_code` is None)."""

    default_code = "invalid_spec"


class RateLimitError(NodusError):
    """Too many requests (429); `retry_after` is how many seconds to wait, if the server said so."""

    default_code = "rate_limited"


class SupplierUnavailableError(NodusError):
    """No supplier can take the job right now (503)."""

    default_code = "no_supplier"


class APIError(NodusError):
    """The server answered with another error status, or with a response that cannot be used."""

    default_code = "http_error"


class APIConnectionError(NodusError):
    """The network failed before the response was complete: DNS, TCP, TLS, a proxy."""

    default_code = "connection_error"


class APITimeoutError(APIConnectionError):
    """The response was not complete within `timeout`, or within `total_timeout` for all attempts together."""

    default_code = "timeout"


class LedgerError(NodusError):
    """Rows, a checkpoint or a proof of the Trust Ledger do not verify: they are not what was written, or not all of it.

    Codes: `ledger_malformed`, `ledger_leaf_mismatch`, `ledger_field_mismatch`, `ledger_gap`, `ledger_chain_broken`,
    `ledger_truncated`, `ledger_root_mismatch`, `ledger_history_rewritten`, `ledger_origin_mismatch`,
    `ledger_signature_invalid`, `ledger_proof_invalid`, `ledger_totals_mismatch`.

    Attributes:
        seq: the row that is wrong, or the first one that is missing; None if no single row is at fault.
    """

    default_code = "ledger_malformed"

    seq: int | None = None


class WaitedJob(Protocol):
    """A job that was waited for: a `Job`, an `AsyncJob`, or a `JobView` of either."""

    @property
    def id(self) -> str: ...

    @property
    def status(self) -> JobStatus: ...


class JobTimeoutError(NodusError, TimeoutError):
    """`timeout_seconds` passed before the job reached a terminal state. The job itself goes on.

    Attributes:
        job: the handle that was waited for; once pickled, only its last snapshot, a `JobView`.
    """

    default_code = "wait_timeout"

    job: WaitedJob | None

    def __init__(self, message: str, *, job: WaitedJob | None = None) -> None:
        super().__init__(message)
        self.job = job

    def __reduce__(self) -> tuple[object, ...]:
        facts = self.__dict__.copy()
        facts["job"] = getattr(self.job, "view", self.job)
        return _rebuild, (type(self), self.message, facts)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    Attributes:
        error: what the caller would see.
        server_verdict: the response's `x-should-retry`, or None.
        permanent: whether no retry can help, whatever the error's class (a certificate that does not verify).
    """

    error: NodusError
    server_verdict: bool | None = None
    permanent: bool = False


def _numbers(told: object) -> tuple[int | None, int | None]:
    """Read a number of GPUs and of seconds; None for what is no whole number."""
    found = told if isinstance(told, dict) else {}
    gpus, seconds = (
        value if isinstance(value, int) and not isinstance(value, bool) else None
        for value in (found.get("gpu_count"), found.get("max_runtime_seconds"))
    )
    return gpus, seconds


def _rebuild(kind: type[_Error], message: str, facts: dict[str, object]) -> _Error:
    """Rebuild an error from what `__reduce__` kept, whatever its constructor requires."""
    error = kind.__new__(kind, message)
    Exception.__init__(error, message)
    error.__dict__.update(facts)
    return error


for _kind in [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, NodusError)]:
    _kind.__module__ = "nodus"
