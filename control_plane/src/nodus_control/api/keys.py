"""`/v1/key`: the calling key, with its month."""

from __future__ import annotations

from typing import Protocol

from starlette.responses import Response

from nodus_ledger.keys.keys import KeyRecord, Keys

from ..clock import Clock
from .requests import ApiRequest
from .views import key_view, to_json


class Parts(Protocol):
    """What this operation needs of a control plane."""

    clock: Clock
    keys: Keys


def get_key(parts: Parts, _call: ApiRequest, key: KeyRecord) -> Response:
    """Get the calling key and its budget."""
    figures = parts.keys.budget(key.id, parts.clock.now())
    return Response(to_json(key_view(key, figures)), media_type="application/json")
