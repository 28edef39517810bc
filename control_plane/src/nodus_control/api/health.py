"""`/healthz`: whether this control plane answers."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ..version import VERSION
from .views import to_json

router = APIRouter()


@router.get("/healthz")
async def healthz() -> Response:
    """Say that requests are answered. Needs no credentials."""
    return Response(to_json({"status": "ok", "version": VERSION}), media_type="application/json")
