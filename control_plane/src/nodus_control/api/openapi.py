"""The API as OpenAPI 3.1, which is written down in `openapi.json`: what callers can rely on."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..version import VERSION
from .views import to_json


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Return the document of `/openapi.json`, with the version of this control plane; not to be changed."""
    text = resources.files("nodus_control.api").joinpath("openapi.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    content["info"]["version"] = VERSION
    return content


async def get_document(_plane: object, request: Request) -> Response:
    """Get the document. Needs no credentials."""
    content = document()
    prefix: str = request.scope.get("root_path", "").rstrip("/")
    if prefix:
        # Mounted there by a gateway: its paths begin with that.
        content = {**content, "servers": [{"url": prefix}]}
    return Response(to_json(content), media_type="application/json")
