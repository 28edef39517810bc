"""The playground's page: one document, its style and its scripts, all from this server."""

from __future__ import annotations

import html
import json
import re
from functools import lru_cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from ..api.requests import read_request
from ..api.views import to_json
from ..errors import ApiError
from .context import Context
from .guards import Guard
from .seeded import SeededKeys

_PROOF = re.compile(r"[0-9a-f]{32}\Z")
_NOT_KEPT = {"Cache-Control": "no-store"}
_LOCKED = "Commands really run here, so the page opens only by the address that the playground printed when it started."
_LOCKED_AGAIN = (
    "This address has been used, and opens the page once. Go back to the browser where it was used, or start the "
    "playground again for a new one."
)
_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript"}


async def get_page(context: Context, request: Request) -> Response:
    """Show the page: with its keys, or, where only visitors may have them, without."""
    guard = _guard(context)
    text = _files()["page.html"]
    keys = guard.page_keys if guard.visitors is None else None
    seen = {"@driver@": context.control_plane.drivers.name, "@keys@": "" if keys is None else json.dumps(_view(keys))}
    for mark, value in seen.items():
        text = text.replace(mark, html.escape(value, quote=True))
    return Response(text, media_type="text/html", headers=_NOT_KEPT)


async def enter_page(context: Context, request: Request) -> Response:
    """Give the page its keys: for a code that has not been used, which begins a session, or in a session."""
    guard = _guard(context)
    content = (await read_request(context.control_plane, request)).json()
    given = content if isinstance(content, dict) else {}
    code, proof = given.get("code"), given.get("proof")
    headers = dict(_NOT_KEPT)
    if guard.visitors is not None:
        if not isinstance(proof, str) or not _PROOF.match(proof):
            raise ApiError(422, "invalid_request", "`proof` must be 32 hexadecimal digits.")
        name = guard.visitors.cookie_name
        if isinstance(code, str) and (cookie := guard.visitors.exchange(code, proof)) is not None:
            headers["Set-Cookie"] = f"{name}={cookie}; Path=/_dev/page; HttpOnly; SameSite=Strict"
        elif not guard.visitors.admits(request.cookies.get(name, ""), proof):
            raise ApiError(403, "page_locked", _LOCKED_AGAIN if code else _LOCKED)
    keys = guard.page_keys
    return Response(to_json({} if keys is None else _view(keys)), media_type="application/json", headers=headers)


async def get_file(_context: Context, request: Request) -> Response:
    """Return a script or the style; there is nothing secret in them."""
    suffix = request.path_params["suffix"]
    text = _files().get(f"{request.path_params['name']}.{suffix}")
    if text is None or suffix not in _MEDIA_TYPES:
        raise ApiError(404, "not_found", "There is nothing at this path.")
    return Response(text, media_type=_MEDIA_TYPES[suffix], headers={"Cache-Control": "no-cache"})


def _guard(context: Context) -> Guard:
    if context.guard is None:
        raise RuntimeError("the page is served only where somebody guards it")
    return context.guard


def _view(keys: SeededKeys) -> dict[str, str]:
    return {"human": keys.api_key, "agent": keys.agent_api_key, "secret": keys.agent_signing_secret}


@lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    """Read the page's files, by name."""
    folder = resources.files("nodus_control.playground").joinpath("static")
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}
