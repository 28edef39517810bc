"""What `nodus run` submits, and the command line that submits the same again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import environment
from .shell import shell_line

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._async.job import AsyncJob


@dataclass(frozen=True)
class Submission:
    """A job as the command line describes it, under an idempotency key that is known before anything is sent.

    Attributes:
        image: as in `AsyncClient.run`, like all fields that are not named here.
        argv: the job's program and arguments; empty for the image's own.
        variables: the container's environment, as `env` and `env_files` gave it.
        env: `--env` as given, `NAME=VALUE` or `NAME`.
        env_files: `--env-file` as given.
    """

    image: str
    gpu: str
    gpu_count: int
    max_runtime_seconds: int
    require_tiers: Sequence[str]
    prefer_region: str | None
    idempotency_key: str
    argv: Sequence[str]
    env: Sequence[str]
    env_files: Sequence[str]
    variables: dict[str, str] = field(repr=False)

    async def submit(self, client: AsyncClient) -> AsyncJob:
        """Submit the job; however often this is called, there is only one.

        Raises:
            NodusError: see `AsyncClient.run`.
        """
        return await client.run(
            image=self.image,
            command=self.argv or None,
            gpu=self.gpu,
            gpu_count=self.gpu_count,
            env=self.variables or None,
            max_runtime_seconds=self.max_runtime_seconds,
            require_tiers=self.require_tiers or None,
            prefer_region=self.prefer_region,
            idempotency_key=self.idempotency_key,
        )

    def rerun(self, *others: str) -> list[str]:
        """Return the command line to paste into a shell, quoted for it, and a note on what it needs beforehand.

        Values of `--env` are left out, because they may be secrets.

        Args:
            others: further options of the command.
        """
        line = ["nodus", "run", *self._options(), *others, "--idempotency-key", self.idempotency_key]
        if self.argv:
            line += ["--", *self.argv]
        assigned = environment.names(one for one in self.env if "=" in one)
        needs = [f"with {', '.join(assigned)} set as before (values are not shown here)"] if assigned else []
        return [shell_line(*line), *needs]

    def _options(self) -> Iterator[str]:
        yield from ("--image", self.image, "--gpu", self.gpu, "--gpu-count", str(self.gpu_count))
        for name in environment.names(self.env):
            yield from ("--env", name)
        for path in self.env_files:
            yield from ("--env-file", path)
        yield from ("--max-runtime-seconds", str(self.max_runtime_seconds))
        for tier in self.require_tiers:
            yield from ("--require-tier", tier)
        if self.prefer_region is not None:
            yield from ("--prefer-region", self.prefer_region)
