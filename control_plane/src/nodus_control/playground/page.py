"""The playground's page: one document, its style and its script, all from this server."""

from __future__ import annotations

import html
from functools import lru_cache
from importlib import resources

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..api.errors import ApiError
from .guards import Guard, page_token_of

router = APIRouter()


@router.get("/", include_in_schema=False)
async def get_page(request: Request) -> Response:
    """Show the page, to whoever may see it."""
    guard: Guard = request.app.state.guard
    if not guard.admits_page(page_token_of(request.scope)):
        raise ApiError(403, "page_token_required", "Open the page with the whole URL that the banner printed.")
    text = _file("page.html")
    seen = {"@api_key@": guard.page_api_key, "@driver@": request.app.state.plane.driver.name}
    for mark, value in seen.items():
        text = text.replace(mark, html.escape(value, quote=True))
    return Response(text, media_type="text/html", headers={"Cache-Control": "no-store"})


@router.get("/playground.js", include_in_schema=False)
async def get_script() -> Response:
    """Give the page's script."""
    return Response(_file("playground.js"), media_type="text/javascript")


@router.get("/playground.css", include_in_schema=False)
async def get_style() -> Response:
    """Give the page's style."""
    return Response(_file("playground.css"), media_type="text/css")


@lru_cache(maxsize=8)
def _file(name: str) -> str:
    return resources.files("nodus_control.playground").joinpath("static").joinpath(name).read_text(encoding="utf-8")
