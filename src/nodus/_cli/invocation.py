"""One run of the command: what every subcommand gets."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from .output import Output
from .underway import Underway

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._hooks import ResponseEvent


class Invocation:
    """The output streams, the state to report on an interrupt, and the client.

    Attributes:
        output: where to write.
        underway: what is being done, should it be interrupted.
    """

    def __init__(self) -> None:
        self.output = Output()
        self.underway = Underway(self.output)

    @contextlib.asynccontextmanager
    async def client(
        self, *, on_response: Callable[[ResponseEvent], object] | None = None
    ) -> AsyncIterator[AsyncClient]:
        """Open a client with the settings from the environment, and show its retries.

        Args:
            on_response: called after each response.

        Raises:
            ConfigurationError: there is no key, or a setting is invalid.
        """
        from .notices import shown_retries

        client = _load_client()(on_response=on_response)
        with shown_retries(self.output):
            async with client:
                yield client


def _load_client() -> type[AsyncClient]:
    """Import the library's client, and the HTTP stack with it.

    The garbage collector would search all of it several times, now and at the interpreter's exit, and find nothing;
    without that, a short command takes about a fifth less time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        from .._async.client import AsyncClient
    finally:
        if was_enabled:
            gc.enable()
    if _owns_process():
        gc.freeze()
    return AsyncClient


def _owns_process() -> bool:
    """Whether the process was started for this command, rather than for a program that calls it."""
    started = getattr(sys.modules["__main__"], "main", None)
    return getattr(started, "__module__", None) == __package__
