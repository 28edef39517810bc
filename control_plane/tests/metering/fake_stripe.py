"""Stripe's meter events over HTTP, on loopback: the rules that its documentation states, and what it does not promise.

It forgets identifiers after exactly 24 h, rejects afterwards, answers 429, and breaks off before or after it has taken
an event. Its clock is the test's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joined_server import JoinedServer, QuietHandler
from typing_extensions import Self

LIVE_KEY, TEST_KEY = "sk_live_fake", "sk_test_fake"
SECRET = "whsec_fake"
METER = "mtr_1"
METER_NAME = "nodus_spend_micro_usd"
DAY_MS = 86_400_000
FIELDS = {"event_name", "payload", "identifier", "timestamp"}

NONE, DROP_BEFORE, DROP_AFTER, ERROR_BEFORE, ERROR_AFTER, LIMITED = (
    "none",
    "drop before",
    "drop after",
    "error before",
    "error after",
    "limited",
)
FAULTS = (DROP_BEFORE, DROP_AFTER, ERROR_BEFORE, ERROR_AFTER, LIMITED)


@dataclass
class Taken:
    """An event that was accepted, and may be rejected later."""

    identifier: str
    customer: str
    value: int
    timestamp: int
    at: int
    payload: dict[str, str]
    is_counted: bool = True


@dataclass
class Book:
    """One account: live or test."""

    events: list[Taken] = field(default_factory=list)
    unreported: list[Taken] = field(default_factory=list)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)

    def counted(self) -> Counter[str]:
        """How often each event is billed."""
        return Counter(event.identifier for event in self.events if event.is_counted)

    def billed(self, customer: str) -> int:
        """What a customer is billed, in micro-USD."""
        return sum(event.value for event in self.events if event.is_counted and event.customer == customer)


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": {"type": "invalid_request_error", "message": message, **more}}


class FakeStripe:
    """Stripe, for a test.

    Attributes:
        fault: what goes wrong with the next call to send an event; one of those above.
        rejects: whether an event that was accepted is rejected later.
        customers: those that exist; None for any.
        answers_nothing: questions get no answer.
        strange: it refuses every event, for no reason that anybody knows.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.fault: Callable[[], str] = lambda: NONE
        self.rejects: Callable[[Taken], bool] = lambda event: False
        self.customers: set[str] | None = None
        self.answers_nothing = False
        self.strange = False
        self.books = {LIVE_KEY: Book(), TEST_KEY: Book()}
        self.calls = 0
        self.most_at_once = 0
        self._lock = threading.Lock()
        self._server = JoinedServer(_handler(self))

    @property
    def base(self) -> str:
        """What `STRIPE_API_BASE` is set to."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def live(self) -> Book:
        """The live account."""
        return self.books[LIVE_KEY]

    @property
    def test(self) -> Book:
        """The test account."""
        return self.books[TEST_KEY]

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.__exit__(exc_type, exc, traceback)

    def report(self, book: Book, *, most_samples: int = 5, event_id: str | None = None) -> tuple[bytes, str] | None:
        """Report what was rejected since the last report; return the body and the signature of the webhook."""
        with self._lock:
            rejected, book.unreported = book.unreported, []
            if not rejected:
                return None
            event_id = event_id or f"evt_{len(book.reports) + 1}"
            samples = [
                {"error_message": "it was rejected", "request": {"identifier": each.identifier}}
                for each in rejected[:most_samples]
            ]
            book.reports[event_id] = {
                "reason": {
                    "error_count": len(rejected),
                    "error_types": [
                        {"code": "meter_event_invalid", "error_count": len(rejected), "sample_errors": samples}
                    ],
                },
                "validation_start": _text(min(each.at for each in rejected)),
                "validation_end": _text(max(each.at for each in rejected)),
            }
        body = json.dumps(
            {
                "id": event_id,
                "object": "v2.core.event",
                "type": "v1.billing.meter.error_report_triggered",
                "livemode": book is self.live,
                "related_object": {"id": METER, "type": "billing.meter"},
            }
        ).encode()
        return body, sign(body, self.now() // 1000)

    def take(self, book: Book, form: dict[str, Any]) -> dict[str, Any]:
        """Take an event, or refuse it."""
        now = self.now()
        with self._lock:
            self.calls += 1
            if self.strange:
                raise Refusal(400, "Something is wrong with this request.")
            unknown = set(form) - FIELDS
            if unknown:
                raise Refusal(400, f"Received unknown parameter: {unknown.pop()}")
            identifier, payload, timestamp = str(form["identifier"]), form["payload"], int(form["timestamp"])
            customer, value = payload.get("stripe_customer_id", ""), payload.get("value", "")
            if form["event_name"] != METER_NAME:
                raise Refusal(400, f"No active meter found for event name {form['event_name']}.")
            if len(identifier) > 100 or not value.isascii() or not value.isdigit():
                raise Refusal(400, "Invalid identifier or value.")
            if not customer.startswith("cus_") or (self.customers is not None and customer not in self.customers):
                raise Refusal(400, f"No such customer: '{customer}'", param="payload")
            if not now // 1000 - 35 * 86_400 <= timestamp <= now // 1000 + 300:
                raise Refusal(400, "The timestamp is out of its range.")
            if any(each.identifier == identifier and now - each.at < DAY_MS for each in book.events):
                raise Refusal(400, f"An event already exists with identifier {identifier}.")
            event = Taken(identifier, customer, int(value), timestamp, now, payload)
            book.events.append(event)
            if self.rejects(event):
                event.is_counted = False
                book.unreported.append(event)
        return {"object": "billing.meter_event", "identifier": identifier, "livemode": book is self.live}

    def occupy(self, book: Book, customer: str) -> None:
        """Begin a call for a customer: one at a time."""
        with self._lock:
            if customer in book.busy:
                raise Refusal(429, "The object is locked by another request.", code="lock_timeout")
            book.busy.add(customer)
            self.most_at_once = max(self.most_at_once, len(book.busy))

    def release(self, book: Book, customer: str) -> None:
        """End it."""
        with self._lock:
            book.busy.discard(customer)

    def answer(self, book: Book, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """Answer a question."""
        with self._lock:
            if path == "/v1/billing/meters":
                return {"data": [{"id": METER, "event_name": METER_NAME}], "has_more": False}
            if path == f"/v1/billing/meters/{METER}/event_summaries":
                begins, ends, customer = int(query["start_time"][0]), int(query["end_time"][0]), query["customer"][0]
                if begins % 60 or ends % 60 or ends <= begins:
                    raise Refusal(400, "Start and end must be aligned with minutes.")
                within = [
                    each.value
                    for each in book.events
                    if each.is_counted and each.customer == customer and begins <= each.timestamp < ends
                ]
                data = [{"id": "mtrusg_1", "aggregated_value": sum(within)}] if within else []
                return {"data": data, "has_more": False}
            event_id = path.removeprefix("/v2/core/events/")
            if event_id in book.reports:
                return {"id": event_id, "data": book.reports[event_id]}
        raise Refusal(404, f"Unrecognized request URL {path}.")


def sign(body: bytes, at: int, secret: str = SECRET) -> str:
    """Sign a webhook as Stripe does."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _text(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _form(body: bytes) -> dict[str, Any]:
    form: dict[str, Any] = {"payload": {}}
    for name, values in parse_qs(body.decode(), keep_blank_values=True).items():
        if name.startswith("payload["):
            form["payload"][name[len("payload[") : -1]] = values[0]
        else:
            form[name] = values[0]
    return form


def _handler(fake: FakeStripe) -> type[QuietHandler]:
    class Handler(QuietHandler):
        disable_nagle_algorithm = True

        def answer(self) -> None:
            """Answer a request."""
            if self.command == "POST":
                self._take()
            else:
                self._tell()

        def _take(self) -> None:
            form = _form(self.rfile.read(int(self.headers["Content-Length"])))
            fault = fake.fault()
            customer = form["payload"].get("stripe_customer_id", "")
            try:
                book = self._book()
                if fault == LIMITED:
                    raise Refusal(429, "Too many requests.")
                if fault in (DROP_BEFORE, ERROR_BEFORE):
                    self._break(fault)
                    return
                fake.occupy(book, customer)
                try:
                    answer = fake.take(book, form)
                finally:
                    fake.release(book, customer)
                if fault in (DROP_AFTER, ERROR_AFTER):
                    self._break(fault)
                    return
            except Refusal as exc:
                self._send(exc.status, exc.content)
                return
            self._send(200, answer)

        def _tell(self) -> None:
            if fake.answers_nothing:
                self.close_connection = True
                return
            parts = urlsplit(self.path)
            try:
                self._send(200, fake.answer(self._book(), parts.path, parse_qs(parts.query)))
            except Refusal as exc:
                self._send(exc.status, exc.content)

        def _book(self) -> Book:
            book = fake.books.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            if book is None:
                raise Refusal(401, "Invalid API Key provided.")
            return book

        def _break(self, fault: str) -> None:
            if fault in (ERROR_BEFORE, ERROR_AFTER):
                self._send(500, {"error": {"type": "api_error", "message": "Something went wrong."}})
            else:
                self.close_connection = True

        def _send(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
