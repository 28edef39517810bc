"""One run of the command: what every subcommand gets."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from .._config import DEFAULT_BASE_URL
from .output import Output
from .underway import Underway

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._hooks import ResponseEvent
    from .failures import Failure


class Invocation:
    """The output streams, the state to report on an interrupt, and the client.

    Args:
        for_programs: whether `--json` was given.

    Attributes:
        output: where to write.
        underway: what is being done, should it be interrupted.
        failure: why the command will return another exit status than 0, if it said so itself rather than raising.
    """

    def __init__(self, *, for_programs: bool = False) -> None:
        self.output = Output(for_programs=for_programs)
        self.underway = Underway(self.output)
        self.failure: Failure | None = None

    @property
    def base_url(self) -> str:
        """The control plane's address, as the environment gives it."""
        return (os.environ.get("NODUS_BASE_URL") or DEFAULT_BASE_URL).strip().rstrip("/")

    def fail(self, code: str, message: str, *, hint: str | None = None) -> None:
        """Say on stderr why the command is about to return an exit status that is not 0.

        Args:
            code: a stable identifier of what is wrong, for programs.
            message: what is wrong.
            hint: what to do about it, for programs; people have been told.
        """
        from .failures import Failure

        self.failure = self.failure or Failure(code, message, hint=hint)
        self.output.note(message)

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
