"""The playground's page: one document, its style and its scripts, all from this server."""

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

_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript"}


@router.get("/", include_in_schema=False)
async def get_page(request: Request) -> Response:
    """Show the page, if the visitor may see it."""
    guard: Guard = request.app.state.guard
    if not guard.admits_page(page_token_of(request.scope)):
        raise ApiError(403, "page_token_required", "Open the page with the whole URL that the banner printed.")
    text = _files()["page.html"]
    seen = {"@driver@": request.app.state.plane.driver.name}
    if guard.page_keys is not None:
        seen["@api_key@"] = guard.page_keys.api_key
        seen["@agent_api_key@"] = guard.page_keys.agent_api_key
        seen["@agent_signing_secret@"] = guard.page_keys.agent_signing_secret
    for mark, value in seen.items():
        text = text.replace(mark, html.escape(value, quote=True))
    return Response(text, media_type="text/html", headers={"Cache-Control": "no-store"})


@router.get("/{name}.{suffix}", include_in_schema=False)
async def get_file(name: str, suffix: str) -> Response:
    """Return a script or the style; there is nothing secret in them."""
    text = _files().get(f"{name}.{suffix}")
    if text is None or suffix not in _MEDIA_TYPES:
        raise ApiError(404, "not_found", "There is nothing at this path.")
    return Response(text, media_type=_MEDIA_TYPES[suffix], headers={"Cache-Control": "no-cache"})


@lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    """Read the page's files, by name."""
    folder = resources.files("nodus_control.playground").joinpath("static")
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}
