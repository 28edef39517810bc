"""Reads responses as models or errors, without I/O."""

from __future__ import annotations

import datetime
import email.utils
import functools
import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic

from . import _bodies
from ._errors import (
    APIError,
    APITimeoutError,
    AuthenticationError,
    BudgetExceededError,
    Failure,
    NodusError,
    NotFoundError,
    RateLimitError,
    SignatureError,
    SupplierUnavailableError,
    ValidationError,
)
from ._job_pages import JobGlance, JobGlances, JobPage, bounded_list
from ._models import JobView

if TYPE_CHECKING:
    from ._calls import Call

_Model = TypeVar("_Model", bound=pydantic.BaseModel)

_FIRST_OF_ARRAY = re.compile(rb"[ \t\n\r]*\[")


SIGNATURE_CODES = frozenset(("signature_invalid", "signature_stale", "signing_secret_unavailable"))

_WEEKDAY = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,", re.IGNORECASE)
"""How an HTTP-date begins: with the only comma in it, and with nothing that is not said again."""

MAX_DEPTH = 100
"""How deeply an error's payload may be nested: pickling and copying it recurses a few calls for each level."""

_ERROR_OF_STATUS: dict[int, type[NodusError]] = {
    400: ValidationError,
    401: AuthenticationError,
    402: BudgetExceededError,
    403: AuthenticationError,
    404: NotFoundError,
    422: ValidationError,
    429: RateLimitError,
    503: SupplierUnavailableError,
}


@dataclass(frozen=True, slots=True)
class Response:
    """A response: the head of one that is still to be read, or all of it.

    Attributes:
        status: the HTTP status.
        headers: a mapping that ignores case.
        content: the body; empty where it is not, or not yet, read.
        attempts: how many attempts at the call there were.
        secrets: what to redact from an error, should a server or proxy echo it.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = b""
    attempts: int = 1
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def payload(self) -> object:
        """The body as JSON, with the secrets redacted, for an error to carry.

        None if it is not JSON, or larger than an error should be, or nested so deeply that an error with it could not
        be copied.
        """
        if len(self.content) > _bodies.MAX_ERROR_BYTES:
            return None
        try:
            return _without(self.secrets, _json(self.content), MAX_DEPTH)
        except _TooDeepError:
            return None

    @property
    def request_id(self) -> str | None:
        found = self.headers.get("x-request-id")
        return None if found is None else _blanked(self.secrets, found)


def parse(response: Response, model: type[_Model], *, max_values: int = _bodies.MAX_VALUES) -> _Model:
    """Read the body as a model.

    Args:
        response: that has it.
        model: what it should be.
        max_values: how many values it may hold, counted roughly.

    Raises:
        APIError: (`invalid_response`) the body is not JSON, or not what the model needs, or parsing it would take too
            much memory.
    """
    content = response.content
    # For a single job, every call made here would show: hence this test, and not `model_validate_json`.
    if len(content) > _bodies.ALWAYS_SMALL_BYTES or content[:1] == _bodies.FIRST_OF_MARK:
        content = _affordable(response, max_values)
    try:
        result: _Model = model.__pydantic_validator__.validate_json(content)
    except pydantic.ValidationError as exc:
        raise _unusable(response, model) from exc
    return result


def parse_submission(response: Response) -> tuple[JobView, bool]:
    """Read the job of a submission, and whether its idempotency key had made it before.

    Raises:
        APIError: (`invalid_response`) it is something else.
    """
    return parse(response, JobView), response.headers.get("idempotent-replayed", "").lower() == "true"


def _affordable(response: Response, max_values: int) -> bytes:
    problem = _bodies.cost_problem(response.content, max_values)
    if problem is not None:
        raise invalid_response(response, problem)
    return _bodies.json_of(response.content)


def text(response: Response) -> str:
    """Read the body as UTF-8 text; invalid bytes become U+FFFD."""
    return response.content.decode("utf-8", errors="replace")


def parse_groups(response: Response, model: type[_Model]) -> _Model:
    """Read a model that holds as many values as a page of jobs may.

    Raises:
        APIError: (`invalid_response`) it is something else.
    """
    return parse(response, model, max_values=_bodies.MAX_PAGE_VALUES)


def parse_page(response: Response) -> JobPage:
    """Read a listing: an object with `jobs`, or the bare array that older servers send.

    Raises:
        APIError: (`invalid_response`) it is something else.
    """
    return _page(response, JobPage, JobView)


def parse_glances(response: Response) -> JobGlances:
    """Read only what shows whether the jobs of a listing have moved on: a third of the work of `parse_page`.

    Raises:
        APIError: (`invalid_response`) it is something else.
    """
    return _page(response, JobGlances, JobGlance)


def _page(response: Response, page: type[_Model], item: type[pydantic.BaseModel]) -> _Model:
    content = _affordable(response, _bodies.MAX_PAGE_VALUES)
    try:
        if _FIRST_OF_ARRAY.match(content):
            return page.model_construct(jobs=_array_of(item).validate_json(content))
        result: _Model = page.__pydantic_validator__.validate_json(content)
    except pydantic.ValidationError as exc:
        raise _unusable(response, page) from exc
    return result


def _unusable(response: Response, model: type[pydantic.BaseModel]) -> APIError:
    return invalid_response(response, f"no usable {model.__name__} in it")


@functools.cache
def _array_of(item: type[pydantic.BaseModel]) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(bounded_list(item))


def parse_object(response: Response) -> dict[str, object]:
    """Read the body as a JSON object.

    Raises:
        APIError: (`invalid_response`) it is something else.
    """
    payload = _json(_affordable(response, _bodies.MAX_VALUES))
    if isinstance(payload, dict):
        return payload
    raise invalid_response(response, "not a JSON object")


def invalid_response(response: Response, problem: str) -> APIError:
    """The error for a successful response that cannot be used."""
    return APIError(
        f"The server answered {response.status} with a body that cannot be used: {problem}.",
        code="invalid_response",
        status_code=response.status,
        request_id=response.request_id,
        payload=response.payload(),
        attempts=response.attempts,
    )


def no_place(call: Call) -> APITimeoutError:
    """The error for a call that waited in vain for a connection that streams may use."""
    return APITimeoutError(
        f"{call.method} {call.path} was not sent: all connections that streams may use stayed busy. Follow fewer jobs "
        "at once, follow all of them with `client.events()`, or raise `max_connections`."
    )


def out_of_memory(call: Call, cause: MemoryError) -> APIError:
    """The error for a response that memory could not hold, although it is within the limits."""
    error = APIError(
        f"{call.method} {call.path}: there is not enough memory for the response.",
        code="invalid_response",
        outcome_unknown=True,
    )
    error.__cause__ = cause
    return error


def failure_from_response(response: Response, call: Call) -> Failure:
    """Turn an unsuccessful response into a failed attempt, with the error of its status.

    Args:
        response: what came.
        call: what was asked, for the message.
    """
    payload = response.payload()
    code, message, request_id = _envelope(payload)
    kind = _ERROR_OF_STATUS.get(response.status, APIError)
    if response.status == 401 and code in SIGNATURE_CODES:
        kind = SignatureError
    if response.status == 407:
        # Only a proxy sends it, and what it says is meant for browsers.
        message = (
            f"{call.method} {call.path} was answered with HTTP 407 by a proxy, which asks for a user name and a "
            "password: put them into the proxy's URL (http://user:password@host:port)."
        )
    error = kind(
        message or f"{call.method} {call.path} was answered with HTTP {response.status}.",
        code=code or "http_error",
        status_code=response.status,
        request_id=response.request_id or request_id,
        payload=payload,
        retry_after=retry_after(response.headers, now=time.time()),
        outcome_unknown=response.status >= 500,
    )
    return Failure(error, server_verdict=should_retry(response.headers))


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read when the server wants to be asked again, in seconds from its response.

    `retry-after-ms`, then `Retry-After` in seconds or as an HTTP-date measured against the response's own `Date`
    (RFC 9110, section 10.2.3). NaN, infinite, negative and garbage values read as None. Of several values, as where a
    gateway adds its own, the longest wait counts, so that nobody is asked too early.
    """
    milliseconds = _longest(map(_number, headers.get("retry-after-ms", "").split(",")))
    if milliseconds is not None:
        return milliseconds / 1000
    values = _WEEKDAY.sub("", headers.get("retry-after", "")).split(",")
    sent = _http_date(headers.get("date", ""))
    return _longest(_wait(value, now if sent is None else sent) for value in values)


def date_of(response: Response) -> float | None:
    """Read when the server made a response, in Unix seconds by its own clock, or None."""
    return _http_date(response.headers.get("date", ""))


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Read the server's own verdict on whether a retry makes sense, or None."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _number(text: str | None) -> float | None:
    if text is None or not text.isascii():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 and "_" not in text else None


def _wait(text: str, sent: float) -> float | None:
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until = _http_date(text)
    return None if until is None or until < sent else until - sent


def _longest(waits: Iterable[float | None]) -> float | None:
    return max((wait for wait in waits if wait is not None), default=None)


def _http_date(text: str) -> float | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
        # Without a zone, or with an unknown one, it is still GMT (RFC 9110, section 5.6.7), not local time.
        return date.replace(tzinfo=date.tzinfo or datetime.timezone.utc).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class _TooDeepError(Exception):
    """A JSON value is nested more deeply than an error can carry."""


def _without(secrets: tuple[str, ...], value: object, levels: int) -> object:
    """Copy a JSON value with every secret in its strings redacted."""
    if isinstance(value, str):
        return _blanked(secrets, value)
    if not isinstance(value, (list, dict)):
        return value
    if levels == 0:
        raise _TooDeepError
    if isinstance(value, list):
        return [_without(secrets, item, levels - 1) for item in value]
    return {str(_without(secrets, key, 0)): _without(secrets, item, levels - 1) for key, item in value.items()}


def _blanked(secrets: tuple[str, ...], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


def _json(content: bytes) -> object:
    try:
        return json.loads(content, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _no_number(_: str) -> None:
    """Read NaN and Infinity, which are not JSON, as null."""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _envelope(payload: object) -> tuple[str | None, str | None, str | None]:
    """Find code, message and request id in the error bodies that servers, frameworks and gateways send."""
    if not isinstance(payload, dict):
        return None, None, None
    places = [payload.get("error"), payload.get("detail"), payload]
    sources = [place for place in places if isinstance(place, dict)]
    code = _first_text(source.get(name) for source in sources for name in ("code", "error"))
    message = _first_text(source.get("message") for source in sources) or _findings(payload.get("detail"))
    return code, message, _first_text(source.get("request_id") for source in reversed(sources))


def _first_text(values: Iterable[object]) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)


def _findings(detail: object) -> str | None:
    """Read FastAPI's `detail`: a sentence, or a list of findings with `loc` and `msg`."""
    if not isinstance(detail, list):
        return _first_text([detail])
    findings = [finding for finding in detail if isinstance(finding, dict) and _first_text([finding.get("msg")])]
    return "; ".join(f"{_location(finding)}: {finding['msg']}" for finding in findings) or None


def _location(finding: dict[str, object]) -> str:
    location = finding.get("loc")
    return ".".join(map(str, location)) if isinstance(location, list) else "body"
