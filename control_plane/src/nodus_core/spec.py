"""What a job may ask for: the submission payload, validated, with defaults filled in.

No message repeats a submitted value, which may be a secret, if only by mistake.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from .catalogue import GpuType, SupplierKind

MAX_IMAGE_LENGTH = 512
MAX_REGION_LENGTH = 128
GPU_COUNT = (1, 8)
MAX_RUNTIME_SECONDS = (60, 172_800)
DEFAULT_MAX_RUNTIME_SECONDS = 3600
MAX_IDEMPOTENCY_KEY_LENGTH = 128

_FIELDS = (
    "image",
    "command",
    "gpu",
    "gpu_count",
    "env",
    "max_runtime_seconds",
    "require_tiers",
    "prefer_region",
    "idempotency_key",
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_IDEMPOTENCY_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}\Z")


class InvalidSpec(Exception):
    """A payload that cannot be accepted; `field` names the part at fault, or is None for the whole."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A valid spec, with every default filled in. `command` and `env` hold secrets and stay out of the `repr`."""

    image: str
    gpu: str
    gpu_count: int = 1
    max_runtime_seconds: int = DEFAULT_MAX_RUNTIME_SECONDS
    require_tiers: tuple[str, ...] = ()
    prefer_region: str | None = None
    command: tuple[str, ...] | None = field(default=None, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def canonical(self) -> bytes:
        """Return the canonical JSON of the default-filled spec: equal specs give equal bytes."""
        return json.dumps(
            {
                "image": self.image,
                "command": self.command,
                "gpu": self.gpu,
                "gpu_count": self.gpu_count,
                "env": dict(self.env),
                "max_runtime_seconds": self.max_runtime_seconds,
                "require_tiers": self.require_tiers,
                "prefer_region": self.prefer_region,
            },
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        ).encode()


def parse_spec(payload: object) -> JobSpec:
    """Validate a decoded submission payload and fill in its defaults; its `idempotency_key` is ignored.

    Raises:
        InvalidSpec: a field is missing, unknown or outside its limits.
    """
    if not isinstance(payload, dict):
        raise InvalidSpec("The body must be a JSON object that describes a job.")
    fields = cast("dict[str, object]", payload)
    for name in fields:
        if name not in _FIELDS:
            raise InvalidSpec(_unknown_field(name))
    return JobSpec(
        image=_image(fields.get("image")),
        gpu=_gpu(fields.get("gpu")),
        gpu_count=_integer("gpu_count", fields.get("gpu_count"), 1, GPU_COUNT),
        max_runtime_seconds=_integer(
            "max_runtime_seconds", fields.get("max_runtime_seconds"), DEFAULT_MAX_RUNTIME_SECONDS, MAX_RUNTIME_SECONDS
        ),
        require_tiers=_tiers(fields.get("require_tiers")),
        prefer_region=_region(fields.get("prefer_region")),
        command=_command(fields.get("command")),
        env=_env(fields.get("env")),
    )


def is_idempotency_key(value: object) -> bool:
    """Say whether a value can be an idempotency key: 1 to 128 printable ASCII characters."""
    return isinstance(value, str) and _IDEMPOTENCY_KEY.match(value) is not None


def _image(value: object) -> str:
    if value is None:
        raise InvalidSpec("`image` is required: an image reference such as 'ghcr.io/acme/train:v3'.", field="image")
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_IMAGE_LENGTH:
        raise InvalidSpec(f"`image` must be a string of 1 to {MAX_IMAGE_LENGTH} characters.", field="image")
    if any(character.isspace() or not character.isprintable() for character in value):
        raise InvalidSpec(
            "`image` must be an image reference without spaces, such as 'ghcr.io/acme/train:v3'.", field="image"
        )
    return value


def _gpu(value: object) -> str:
    known = [gpu.value for gpu in GpuType]
    listed = ", ".join(known)
    if value is None:
        raise InvalidSpec(f"`gpu` is required: one of {listed}.", field="gpu")
    if not isinstance(value, str):
        raise InvalidSpec(f"`gpu` must be one of {listed}.", field="gpu")
    if value not in known:
        raise InvalidSpec(f"`gpu` must be one of {listed}; the nearest is {_nearest(value, known)!r}.", field="gpu")
    return value


def _integer(name: str, value: object, default: int, limits: tuple[int, int]) -> int:
    if value is None:
        return default
    lowest, highest = limits
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidSpec(f"`{name}` must be an integer from {lowest} to {highest}.", field=name)
    return value


def _tiers(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    known = {kind.value for kind in SupplierKind}
    if not isinstance(value, list) or not all(isinstance(tier, str) and tier in known for tier in value):
        raise InvalidSpec(f"`require_tiers` must be a list of {', '.join(sorted(known))}.", field="require_tiers")
    return tuple(sorted(set(cast("list[str]", value))))


def _region(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_REGION_LENGTH:
        raise InvalidSpec(
            f"`prefer_region` must be a string of 1 to {MAX_REGION_LENGTH} characters.", field="prefer_region"
        )
    _require_text("prefer_region", "`prefer_region`", value)
    return value


def _command(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(argument, str) for argument in value):
        raise InvalidSpec(
            "`command` must be a list of at least one string, such as ['python', 'train.py']; "
            "leave it out for the image's own command.",
            field="command",
        )
    arguments = cast("list[str]", value)
    for position, argument in enumerate(arguments):
        _require_text("command", f"`command[{position}]`", argument)
    return tuple(arguments)


def _env(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidSpec("`env` must be an object of strings.", field="env")
    checked: dict[str, str] = {}
    for name, setting in value.items():
        if not name or "=" in name:
            raise InvalidSpec("`env` must have names that are not empty and have no '='.", field="env")
        _require_text("env", "a name in `env`", name)
        shown = f"`env[{name!r}]`" if _PLAIN_NAME.match(name) else "a value in `env`"
        if not isinstance(setting, str):
            raise InvalidSpec(f"{shown} must be a string.", field="env")
        _require_text("env", shown, setting)
        checked[name] = setting
    return checked


def _require_text(field: str, shown: str, value: str) -> None:
    if "\0" in value:
        raise InvalidSpec(f"{shown} must not contain a NUL character.", field=field)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidSpec(f"{shown} must not contain a lone surrogate.", field=field) from None


def _unknown_field(name: str) -> str:
    near = difflib.get_close_matches(name[:64], _FIELDS, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    shown = f"The field `{name}`" if _PLAIN_NAME.match(name) else "A field of the body"
    return f"{shown} is not known; a job has {', '.join(_FIELDS)}.{hint}"


def _nearest(value: str, known: list[str]) -> str:
    text = value[:64].lower().replace("-", "_").replace(" ", "_")
    return max(known, key=lambda candidate: difflib.SequenceMatcher(None, text, candidate).ratio())
