"""The API as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from ..version import VERSION


def document() -> dict[str, Any]:
    """Give the document of `/openapi.json`."""
    return {"openapi": "3.1.0", "info": {"title": "Nodus", "version": VERSION}, "paths": {}}
