"""A Stripe account, by the official package: events are sent, summaries and error reports read.

The package is synchronous, and is used from the exporter's own thread. It makes one attempt a call: what is tried
again, and when, is decided by `nodus_core.meter_rules`, which knows what an attempt may have done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from nodus_core.meter_rules import MINUTE
from nodus_ledger.jobs.meter_reports import ErrorReport, Sample

CALL_SECONDS = 20.0
"""How long Stripe may be silent during a call: a third of a lease."""

_PAGE = 100
_MOST_PAGES = 100
_LONGEST_REASON = 300


class NoStripe(Exception):
    """The official package is not installed."""

    def __init__(self) -> None:
        super().__init__("metering into Stripe needs the package stripe, which is not installed: pip install stripe")


class StripeUnavailable(Exception):
    """Stripe did not answer a question, or refused it."""


class StripeAccount:
    """One account, live or test.

    Args:
        api_key: its secret or restricted key.
        base: the address of the API; None for Stripe's own.

    Raises:
        NoStripe: the official package is not installed.
    """

    def __init__(self, api_key: str, base: str | None = None) -> None:
        try:
            import stripe
        except ImportError as exc:
            raise NoStripe from exc
        self._errors: type[Exception] = stripe.StripeError
        self._http: Any = stripe.RequestsClient(timeout=CALL_SECONDS)
        options: dict[str, Any] = {"base_addresses": {"api": base}} if base else {}
        self._client: Any = stripe.StripeClient(api_key, http_client=self._http, max_network_retries=0, **options)
        self._meters: dict[str, str] = {}

    def send(self, event: Mapping[str, Any]) -> tuple[int | None, str]:
        """Send a meter event; return the status of the answer, None without one, and what an error says."""
        try:
            self._client.raw_request("post", "/v1/billing/meter_events", **event)
        except self._errors as exc:
            return _status_of(exc), _message_of(exc)
        return 200, ""

    def summary(self, stripe_customer: str, meter_name: str, begins: int) -> int:
        """Return what a meter has counted of a customer in the minute from `begins` (Unix seconds) on.

        Raises:
            StripeUnavailable: there is no answer, no such meter, or what it counted is no whole number.
        """
        path = f"/v1/billing/meters/{self._meter(meter_name)}/event_summaries"
        end = begins + MINUTE
        found = self._pages(path, customer=stripe_customer, start_time=begins, end_time=end)
        try:
            total = sum((Decimal(str(each["aggregated_value"])) for each in found), Decimal(0))
            if total != total.to_integral_value():
                raise StripeUnavailable(f"the meter {meter_name} counted {total}: whole micro-USD were sent")
        except (KeyError, TypeError, InvalidOperation) as exc:
            raise StripeUnavailable(f"a summary of the meter {meter_name} cannot be read") from exc
        return int(total)

    def report(self, event_id: str) -> ErrorReport:
        """Fetch an error report by its id.

        Raises:
            StripeUnavailable: there is no answer, or it is no error report.
        """
        document = self._ask(f"/v2/core/events/{event_id}")
        try:
            data = document["data"]
            kinds = data["reason"]["error_types"]
            samples = [
                Sample(str(each["request"]["identifier"]), f"{kind['code']}: {each['error_message']}"[:_LONGEST_REASON])
                for kind in kinds
                for each in kind.get("sample_errors", ())
            ]
            errors = int(data["reason"]["error_count"])
            return ErrorReport(errors, samples, _moment(data["validation_start"]), _moment(data["validation_end"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise StripeUnavailable(f"the event {event_id} is no error report that can be read") from exc

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _meter(self, name: str) -> str:
        if name not in self._meters:
            self._meters = {each["event_name"]: each["id"] for each in self._pages("/v1/billing/meters")}
        if name not in self._meters:
            raise StripeUnavailable(f"the account has no meter whose event name is {name}: create it")
        return self._meters[name]

    def _pages(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(_MOST_PAGES):
            after = {"starting_after": found[-1]["id"]} if found else {}
            page = self._ask(path, limit=_PAGE, **parameters, **after)
            found.extend(page["data"])
            if not page.get("has_more") or not page["data"]:
                break
        return found

    def _ask(self, path: str, **parameters: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._client.raw_request("get", path, **parameters).data
        except self._errors as exc:
            raise StripeUnavailable(f"Stripe did not answer {path}: {_message_of(exc)}") from exc
        return answer


def _status_of(exc: Exception) -> int | None:
    status: int | None = getattr(exc, "http_status", None)
    return status


def _message_of(exc: Exception) -> str:
    """Return what an error says, in a line; the package never puts a key in it whole."""
    message = getattr(exc, "user_message", None) or str(exc)
    return " ".join(str(message).split())


def _moment(text: str) -> int:
    """Read a time (RFC 3339) as Unix milliseconds."""
    # Python 3.10 reads three or six decimals only.
    whole = re.sub(r"\.\d+", "", text)
    return round(datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", whole)).timestamp() * 1000)
