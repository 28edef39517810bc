"""`/v1/key`: the calling key, with its month."""

from __future__ import annotations

from starlette.responses import Response

from nodus_ledger.keys.keys import KeyRecord

from ..control_plane import ControlPlane
from .requests import ApiRequest
from .views import key_view, to_json


def get_key(plane: ControlPlane, _call: ApiRequest, key: KeyRecord) -> Response:
    """Get the calling key and its budget."""
    figures = plane.keys.budget(key.id, plane.clock.now())
    return Response(to_json(key_view(key, figures)), media_type="application/json")
