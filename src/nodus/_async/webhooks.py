"""`client.webhooks`: the endpoints that events are delivered to, and the deliveries."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from .. import _arguments, _calls, _http
from .._errors import APIError, NotFoundError, ValidationError
from .._handles import ClientBound
from .._resources import Delivery, DeliveryPage, Webhook, WebhookPage, WebhookSecret
from .paging import AsyncPageIterator

if TYPE_CHECKING:
    from .session import AsyncSession

_Secret = TypeVar("_Secret", Webhook, WebhookSecret)


class AsyncWebhooks(ClientBound):
    """`client.webhooks`: registers endpoints, and shows and replays what was delivered to them.

    `create`, `rotate` and `replay` are never retried after a connection broke or timed out: they raise, with
    `.outcome_unknown` set if the server may have acted.
    """

    __slots__ = ("_session",)

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, url: str, events: Sequence[str]) -> Webhook:
        """Register an endpoint. Store the returned `secret`: the server never shows it again.

        Args:
            url: where to post deliveries: an `https` URL with a publicly reachable address.
            events: the event types to deliver, such as `["job.completed", "job.failed"]`.

        Raises:
            ValidationError: an argument is of the wrong type (`invalid_argument`, nothing was sent), or the server
                refused the address or an event type.
            AuthenticationError: (`forbidden_principal`) an agent's key may not do this.
            NodusError: any other failure; if `.outcome_unknown` is true, check `list()` before trying again.
        """
        call = _calls.create_webhook(_url(url), _event_types(events))
        return await self._session.call(call, _read_created)

    async def list(self) -> builtins.list[Webhook]:
        """List the customer's endpoints.

        Raises:
            NodusError: the call failed.
        """
        return (await self._session.call(_calls.list_webhooks(), _read_webhooks)).webhooks

    async def get(self, webhook_id: str) -> Webhook:
        """Look up an endpoint.

        Raises:
            NotFoundError: there is no such endpoint, or it belongs to another customer.
            ValidationError: (`invalid_webhook_id`) this cannot be its id; nothing was sent.
            NodusError: any other failure.
        """
        return await self._session.call(_calls.get_webhook(webhook_id), _read_webhook)

    async def delete(self, webhook_id: str) -> None:
        """Remove an endpoint; nothing more is delivered to it.

        Raises:
            NotFoundError: there is no such endpoint, or it belongs to another customer.
            AuthenticationError: (`forbidden_principal`) an agent's key may not do this.
            ValidationError: (`invalid_webhook_id`) this cannot be its id; nothing was sent.
            NodusError: any other failure.
        """
        try:
            await self._session.call(_calls.delete_webhook(webhook_id), _read_nothing)
        except NotFoundError as exc:
            # On a retry, an earlier attempt removed it, and its answer was lost.
            if exc.attempts <= 1:
                raise

    async def rotate(self, webhook_id: str) -> WebhookSecret:
        """Replace an endpoint's secret. For 24 hours, deliveries are signed with the old one too.

        Raises:
            NotFoundError: there is no such endpoint, or it belongs to another customer.
            AuthenticationError: (`forbidden_principal`) an agent's key may not do this.
            ValidationError: (`invalid_webhook_id`) this cannot be its id; nothing was sent.
            NodusError: any other failure; if `.outcome_unknown` is true, the secret may have changed: rotate again.
        """
        return await self._session.call(_calls.rotate_webhook(webhook_id), _read_secret)

    async def enable(self, webhook_id: str) -> Webhook:
        """Let events be delivered again to an endpoint that was disabled. What failed meanwhile can be replayed.

        Raises:
            NotFoundError: there is no such endpoint, or it belongs to another customer.
            AuthenticationError: (`forbidden_principal`) an agent's key may not do this.
            ValidationError: (`invalid_webhook_id`) this cannot be its id; nothing was sent.
            NodusError: any other failure.
        """
        return await self._session.call(_calls.enable_webhook(webhook_id), _read_webhook)

    async def deliveries(self, webhook_id: str, *, limit: int = 50) -> builtins.list[Delivery]:
        """List the most recent deliveries to an endpoint, newest first.

        Args:
            webhook_id: the endpoint.
            limit: the most deliveries to return, 1 or more; the server caps it at 200.

        Raises:
            NotFoundError: there is no such endpoint, or it belongs to another customer.
            ValidationError: (`invalid_webhook_id`, `invalid_argument`) an argument is invalid; nothing was sent.
            NodusError: any other failure.
        """
        return (await self._session.call(_calls.list_deliveries(webhook_id, limit=limit), _read_page)).deliveries

    def iter_deliveries(self, webhook_id: str, *, page_size: int = 50) -> AsyncIterator[Delivery]:
        """Iterate over all deliveries to an endpoint, newest first, fetching a page at a time.

        Args:
            webhook_id: the endpoint.
            page_size: deliveries per request, 1 or more; the server caps it at 200.

        Raises:
            ValidationError: (`invalid_webhook_id`, `invalid_argument`) an argument is invalid.
            NodusError: while iterating, any other failure.
        """
        _arguments.whole_number("page_size", page_size, minimum=1)
        return AsyncDeliveryIterator(self._session, _arguments.identifier("webhook", webhook_id), page_size)

    async def replay(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Deliver an event again, now, under the same event id.

        Raises:
            NotFoundError: there is no such endpoint or delivery, or it belongs to another customer.
            AuthenticationError: (`forbidden_principal`) an agent's key may not do this.
            ValidationError: (`invalid_webhook_id`, `invalid_delivery_id`) this cannot be an id; nothing was sent.
            NodusError: any other failure; if `.outcome_unknown` is true, the event may be delivered all the same.
        """
        call = _calls.replay_delivery(webhook_id, delivery_id)
        delivery = await self._session.call(call, _read_replayed)
        return Delivery(id=delivery_id, status="pending") if delivery is None else delivery


AsyncWebhooks.__module__ = "nodus"


class AsyncDeliveryIterator(AsyncPageIterator[Delivery, str]):
    """Yields the deliveries to an endpoint.

    Args:
        session: makes the requests.
        webhook_id: the endpoint.
        page_size: deliveries per request.
    """

    def __init__(self, session: AsyncSession, webhook_id: str, page_size: int) -> None:
        super().__init__()
        self._session = session
        self._webhook_id = webhook_id
        self._page_size = page_size

    async def _fetch(self, position: str | None) -> tuple[Iterable[Delivery], str | None]:
        call = _calls.list_deliveries(self._webhook_id, limit=self._page_size, cursor=position)
        page = await self._session.call(call, _read_page)
        return page.deliveries, page.next_cursor or None


def _url(url: object) -> str:
    if isinstance(url, str) and url:
        return url
    raise ValidationError(f"`url` must be a non-empty string, not {url!r}.", code="invalid_argument")


def _event_types(events: object) -> builtins.list[str]:
    if isinstance(events, str) or not isinstance(events, (Sequence, set, frozenset)):
        raise ValidationError(
            f"`events` must be a list such as ['job.completed'], not {events!r}.", code="invalid_argument"
        )
    types = builtins.list(events)
    if not types or not all(isinstance(one, str) and one for one in types):
        raise ValidationError("`events` must hold at least one type, each a string.", code="invalid_argument")
    return types


def _read_webhooks(response: _http.Response) -> WebhookPage:
    return _http.parse(response, WebhookPage)


def _read_webhook(response: _http.Response) -> Webhook:
    return _http.parse(response, Webhook)


def _read_page(response: _http.Response) -> DeliveryPage:
    return _http.parse(response, DeliveryPage)


def _read_created(response: _http.Response) -> Webhook:
    return _without_payload(response, Webhook)


def _read_secret(response: _http.Response) -> WebhookSecret:
    return _without_payload(response, WebhookSecret)


def _read_replayed(response: _http.Response) -> Delivery | None:
    return _http.parse(response, Delivery) if response.content.strip() else None


def _read_nothing(response: _http.Response) -> None:
    return None


def _without_payload(response: _http.Response, model: type[_Secret]) -> _Secret:
    """Read an answer that holds a secret; an error about it must not carry the secret."""
    try:
        return _http.parse(response, model)
    except APIError as exc:
        error = exc
    error.payload = None
    # pydantic's own error keeps the input.
    error.__cause__ = error.__context__ = None
    raise error
