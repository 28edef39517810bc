"""`/v1/key`: the calling key, with its month."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..auth import authenticate
from ..calls import Call, respond
from ..plane import Plane
from .views import key_view, to_json

router = APIRouter()


@router.get("/v1/key")
async def get_key(request: Request) -> Response:
    """Get the calling key and its budget."""
    return await respond(request, _get)


def _get(plane: Plane, call: Call) -> Response:
    key = authenticate(plane, call)
    figures = plane.keys.budget(key.id, plane.clock.now())
    return Response(to_json(key_view(key, figures)), media_type="application/json")
