"""`/v1/key`: the calling key, with its month."""

from __future__ import annotations

from starlette.responses import Response

from nodus_ledger.keys import KeyRecord

from ..calls import Call
from ..plane import Plane
from .views import key_view, to_json


def get_key(plane: Plane, _call: Call, key: KeyRecord) -> Response:
    """Get the calling key and its budget."""
    figures = plane.keys.budget(key.id, plane.clock.now())
    return Response(to_json(key_view(key, figures)), media_type="application/json")
