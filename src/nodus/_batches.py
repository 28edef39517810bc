"""Many submissions in few requests: how they are divided, and what becomes of each. Pure.

Each job gets its idempotency key once, before anything is sent, and keeps it however often and in whatever company it
is sent again: so the server finds what it has accepted, and nothing is submitted twice.
"""

from __future__ import annotations

import copy
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _arguments, _calls, _http
from ._errors import Failure, NodusError, ValidationError
from ._models import JobSpec, JobView

if TYPE_CHECKING:
    from ._fields import JobFields

MOST_JOBS = 200
"""How many jobs a batch may have."""

MOST_BYTES = 900 * 1024
"""How large the body of a batch may be; servers take 1 MiB."""

_SENT_AGAIN = frozenset((409, 429, 503))
"""Statuses of a result with which the job alone is sent again."""

_UNKNOWN_HERE = frozenset((404, 405, 501))
"""What servers answer that know no batches."""

_OWN = frozenset((400, 402, 409, 413, 422, 503))
"""What concerns a job that was sent alone, and none of the others."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that was accepted, or found again (`replayed`)."""

    view: JobView
    replayed: bool


class ManySubmissions:
    """The jobs of one `run_many`, in order.

    Args:
        specs: as specs, or as mappings of their fields.

    Attributes:
        outcomes: what became of each job; None while that is not known.

    Raises:
        ValidationError: (`invalid_spec`, `invalid_idempotency_key`) one is outside its limits.
    """

    def __init__(self, specs: Iterable[JobSpec | JobFields]) -> None:
        self._specs = [_with_key(number, spec) for number, spec in enumerate(specs)]
        self._contents = [spec.model_dump_json(exclude_none=True).encode() for spec in self._specs]
        self._waiting = deque(range(len(self._specs)))
        self._most = MOST_JOBS
        self._unknown: set[int] = set()
        self.outcomes: list[Accepted | NodusError | None] = [None] * len(self._specs)

    def next_batch(self) -> list[int]:
        """Take the jobs to send together next, by their position; none where all have been sent."""
        batch: list[int] = []
        size = 0
        while self._waiting and len(batch) < self._most:
            size += len(self._contents[self._waiting[0]]) + 1
            if batch and size > MOST_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def call(self, batch: Sequence[int]) -> _calls.Call:
        """Return the request that submits these; one alone is submitted as `run` does."""
        if len(batch) == 1:
            return _calls.submit_job(self._specs[batch[0]])
        specs = [self._specs[position] for position in batch]
        return _calls.submit_batch([self._contents[position] for position in batch], _calls.secrets_of(*specs))

    def read(self, batch: Sequence[int], call: _calls.Call, response: _http.Response) -> Failure | None:
        """Take what became of each from the answer.

        Returns:
            The failure of those that are to be sent again (`to_send_again`), with the longest wait; None if there are
            none.

        Raises:
            APIError: (`invalid_response`) the answer cannot be used.
        """
        if len(batch) == 1:
            view, replayed = _http.parse_submission(response)
            self.outcomes[batch[0]] = Accepted(view, replayed)
            return None
        from ._resources import BatchResults

        results = _http.parse(response, BatchResults).results
        if len(results) != len(batch):
            raise _http.invalid_response(response, f"{len(results)} results for {len(batch)} jobs")
        again: list[NodusError] = []
        for position, result in zip(batch, results, strict=True):
            if result.job is not None:
                self.outcomes[position] = Accepted(result.job, result.replayed)
                continue
            error = self._error_of(position, result.as_answer(), call, response)
            self.outcomes[position] = error
            if error.status_code in _SENT_AGAIN:
                again.append(error)
        if not again:
            return None
        return Failure(max(again, key=lambda error: error.retry_after or 0.0))

    def to_send_again(self, batch: Sequence[int]) -> list[int]:
        """Return those of a batch whose result says that they may be sent again."""
        return [position for position in batch if self._is_passing(self.outcomes[position])]

    def failed(self, batch: Sequence[int], error: NodusError) -> None:
        """Decide what a failure of the whole request means.

        Batches become smaller where they were too large. What concerns one job alone becomes its outcome. After
        anything else, nothing more is sent.

        Raises:
            NodusError: the failure itself, where no job can have been accepted.
        """
        if len(batch) > 1 and (most := _fewer(batch, error)):
            self._most = most
            self._waiting.extendleft(reversed(batch))
        elif len(batch) == 1 and error.status_code in _OWN:
            self._note(batch[0], error)
        else:
            nothing_accepted = not error.outcome_unknown and not self._unknown
            if nothing_accepted and not any(isinstance(each, Accepted) for each in self.outcomes):
                raise error
            for position in batch:
                self._note(position, error)
            for position in self._waiting:
                self._note(position, error)
                _require(self.outcomes[position]).outcome_unknown = position in self._unknown
            self._waiting.clear()

    def _note(self, position: int, error: NodusError) -> None:
        mine = copy.copy(error)
        mine.__cause__ = error.__cause__
        mine.idempotency_key = self._specs[position].idempotency_key
        self.outcomes[position] = mine

    def _error_of(
        self, position: int, answer: Mapping[str, Any], call: _calls.Call, response: _http.Response
    ) -> NodusError:
        """Return the error that the job alone would have met."""
        headers = {
            "retry-after": str(answer.get("retry_after", "")),
            "x-request-id": response.request_id or "",
        }
        content = json.dumps(answer).encode()
        alone = _http.Response(answer["status"], headers, content, response.attempts, response.secrets)
        error = _http.failure_from_response(alone, call).error
        error.attempts = response.attempts
        error.idempotency_key = self._specs[position].idempotency_key
        if error.outcome_unknown:
            self._unknown.add(position)
        elif error.status_code not in _SENT_AGAIN:
            # The server has looked the key up, so it has not accepted the job before either.
            self._unknown.discard(position)
        error.outcome_unknown = position in self._unknown
        return error

    @staticmethod
    def _is_passing(outcome: Accepted | NodusError | None) -> bool:
        return isinstance(outcome, NodusError) and outcome.status_code in _SENT_AGAIN


def _fewer(batch: Sequence[int], error: NodusError) -> int | None:
    """Return how many jobs the next batch may have at most, where this one was too large for the server."""
    if error.status_code in _UNKNOWN_HERE:
        return 1
    if error.status_code == 413:
        return len(batch) // 2
    if error.code != "batch_too_large":
        return None
    burst = error.payload.get("burst") if isinstance(error.payload, dict) else None
    is_usable = isinstance(burst, int) and not isinstance(burst, bool) and 1 <= burst < len(batch)
    return burst if is_usable else len(batch) // 2


def _with_key(number: int, given: JobSpec | JobFields) -> JobSpec:
    try:
        spec = given if isinstance(given, JobSpec) else JobSpec.model_validate(given)
    except ValidationError as exc:
        raise ValidationError(f"specs[{number}]: {exc.message}", code=exc.code) from None
    if spec.idempotency_key is not None:
        return spec
    return spec.model_copy(update={"idempotency_key": _arguments.new_idempotency_key()})


def _require(outcome: Accepted | NodusError | None) -> NodusError:
    assert isinstance(outcome, NodusError)
    return outcome
