"""One run of the command: what every subcommand is given."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from .output import Output
from .underway import Underway

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._hooks import ResponseEvent


class Invocation:
    """The streams, what outlives an interrupt, and the client.

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
        """Open a client with the settings of the environment; its retries are shown.

        Args:
            on_response: told of each answer.

        Raises:
            ConfigurationError: no key, or a setting that cannot work.
        """
        from .._async.client import AsyncClient
        from .notices import shown_retries

        client = AsyncClient(on_response=on_response)
        with shown_retries(self.output):
            async with client:
                yield client
