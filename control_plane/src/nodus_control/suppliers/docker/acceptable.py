"""What a supplier's engine for containers can never run, by the job and the operator's options alone. Pure."""

from __future__ import annotations

from nodus_core.suppliers_file import DockerOptions

from ..protocol import Program, SubmissionRefused
from .references import InvalidReference, Reference, is_allowed, parse_reference

_BAD_CHARACTER = "\0"


def require_acceptable(program: Program, options: DockerOptions) -> Reference:
    """Refuse what no engine takes, without quoting it, and images that are not allowed; return the image.

    Raises:
        SubmissionRefused: `invalid_command` or `cannot_run`.
    """
    parts = [*(program.command or ()), *program.env, *program.env.values()]
    try:
        for part in parts:
            part.encode("utf-8")
    except UnicodeEncodeError:
        raise SubmissionRefused("invalid_command", "command or env holds a character that has no encoding") from None
    if any(_BAD_CHARACTER in part for part in parts):
        raise SubmissionRefused("invalid_command", "command or env holds a NUL character")
    if any(not name or "=" in name for name in program.env):
        raise SubmissionRefused("invalid_command", "env holds a name that is empty or has a '='")
    try:
        image = parse_reference(program.image)
    except InvalidReference as exc:
        raise SubmissionRefused("cannot_run", f"the image cannot be run: {exc}") from exc
    if not is_allowed(image, options.registries):
        message = f"the supplier does not run images of the registry {image.registry}"
        raise SubmissionRefused("cannot_run", message)
    return image
