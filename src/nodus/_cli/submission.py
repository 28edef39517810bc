"""What `nodus run` submits, and the command line that submits the same again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._enums import GpuType, OpenStrEnum
from .._errors import NotFoundError
from .._fields import JOB
from .terminal import shell_line

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
        file: `--file` as given: then this is several jobs, and `fields` are those that take the place of the file's.
    """

    fields: Mapping[str, Any] = field(repr=False)
    env: Sequence[str]
    env_files: Sequence[str]
    file: str | None = None

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
        assigned = variable_names(one for one in self.env if "=" in one)
        needs = [f"with {', '.join(assigned)} set as before (values are not shown here)"] if assigned else []
        return [shell_line(*line), *needs]

    def _options(self) -> Iterator[str]:
        if self.file is not None:
            yield from ("--file", self.file)
        for name in JOB.names:
            value = self.fields[name]
            if name == "env":
                for variable in variable_names(self.env):
                    yield from ("--env", variable)
                for path in self.env_files:
                    yield from ("--env-file", path)
            elif name == "require_tiers":
                for tier in value or ():
                    yield from ("--require-tier", tier)
            elif name == "labels":
                for key, labelled in (value or {}).items():
                    yield from ("--label", f"{key}={labelled}")
            elif name not in ("command", "idempotency_key") and value is not None:
                shown = value.value if isinstance(value, OpenStrEnum) else str(value)
                yield from (f"--{name.replace('_', '-')}", shown)


async def gpu_model(client: AsyncClient, gpu: str) -> GpuType | str:
    """Return a GPU model that this version does not know as one to be sent, if somebody offers it."""
    from .. import _arguments

    model = GpuType(gpu)
    if model.is_known or not _arguments.is_gpu_model(gpu):
        return gpu
    try:
        is_offered = bool(await client.offers(gpu=gpu))
    except NotFoundError:
        return gpu  # an older server, which has the models that this version knows
    return model if is_offered else gpu


class EnvironmentValueError(ValueError):
    """An assignment that cannot be understood, or a variable to copy that is not set. No message contains a value."""


def collect_variables(assignments: Iterable[str], files: Iterable[str], source: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the container; `--env` takes precedence over files, later over earlier.

    Args:
        assignments: `NAME=VALUE`, or `NAME` to copy from `source`.
        files: paths of files with one such assignment per line; blank lines and lines that start with `#` are skipped,
            and values are taken literally, quotes included.
        source: the environment of this process.

    Raises:
        EnvironmentValueError: an assignment or a file that cannot be used.
    """
    variables: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(_read_lines(path), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                name, value = _parse_assignment(line.lstrip(), source, where=f"{path}, line {number}")
                variables[name] = value
    for assignment in assignments:
        name, value = _parse_assignment(assignment, source, where="--env")
        variables[name] = value
    return variables


def variable_names(assignments: Iterable[str]) -> list[str]:
    """Return the names alone, each once."""
    return list(dict.fromkeys(assignment.partition("=")[0] for assignment in assignments))


def _parse_assignment(assignment: str, source: Mapping[str, str], *, where: str) -> tuple[str, str]:
    name, equals, value = assignment.partition("=")
    if not equals:
        name = name.rstrip()
    if not name or any(character.isspace() for character in name):
        raise EnvironmentValueError(f"{where}: expected NAME=VALUE, or NAME to copy it from the environment.")
    if equals:
        return name, value
    if name not in source:
        raise EnvironmentValueError(f"{where}: {name} is not set in your environment, so it cannot be copied.")
    return name, source[name]


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").split("\n")
    except OSError as exc:
        raise EnvironmentValueError(f"{path}: {exc.strerror or 'it cannot be read'}.") from exc
    except UnicodeDecodeError as exc:
        raise EnvironmentValueError(f"{path}: it is not UTF-8 text.") from exc
