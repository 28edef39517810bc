"""The certificates that httpx trusts by default, loaded once: each of the tests' clients would load them anew.

That takes 15 ms, and nearly all of them speak plain HTTP.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import certifi
import pytest


@pytest.fixture(scope="session", autouse=True)
def certificates_are_loaded_once() -> Iterator[None]:
    """Give everybody who asks for just these the same context."""
    make = ssl.create_default_context
    made: dict[str, ssl.SSLContext] = {}

    def shared(*arguments: Any, **options: Any) -> ssl.SSLContext:
        cafile = certifi.where()
        if arguments or options != {"cafile": cafile}:
            return make(*arguments, **options)
        if cafile not in made:
            made[cafile] = make(cafile=cafile)
        return made[cafile]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", shared)
        yield
