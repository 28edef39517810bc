"""What `nodus run` submits, and the command line that submits the same again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._fields import JOB
from . import environment
from .shell import shell_line

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._async.job import AsyncJob


@dataclass(frozen=True)
class Submission:
    """A job as the command line describes it, under an idempotency key that is known before anything is sent.

    Attributes:
        fields: as in `AsyncClient.run`, all of them; the environment is what `env` and `env_files` gave.
        env: `--env` as given, `NAME=VALUE` or `NAME`.
        env_files: `--env-file` as given.
    """

    fields: Mapping[str, Any] = field(repr=False)
    env: Sequence[str]
    env_files: Sequence[str]

    async def submit(self, client: AsyncClient) -> AsyncJob:
        """Submit the job; however often this is called, there is only one.

        Raises:
            NodusError: see `AsyncClient.run`.
        """
        return await client.run(**self.fields)

    def rerun(self, *others: str) -> list[str]:
        """Return the command line to paste into a shell, quoted for it, and a note on what it needs beforehand.

        Values of `--env` are left out, because they may be secrets.

        Args:
            others: further options of the command.
        """
        line = ["nodus", "run", *self._options(), *others, "--idempotency-key", self.fields["idempotency_key"]]
        if argv := self.fields["command"]:
            line += ["--", *argv]
        assigned = environment.names(one for one in self.env if "=" in one)
        needs = [f"with {', '.join(assigned)} set as before (values are not shown here)"] if assigned else []
        return [shell_line(*line), *needs]

    def _options(self) -> Iterator[str]:
        for name in JOB.names:
            value = self.fields[name]
            if name == "env":
                for variable in environment.names(self.env):
                    yield from ("--env", variable)
                for path in self.env_files:
                    yield from ("--env-file", path)
            elif name == "require_tiers":
                for tier in value or ():
                    yield from ("--require-tier", tier)
            elif name not in ("command", "idempotency_key") and value is not None:
                yield from (f"--{name.replace('_', '-')}", str(value))
