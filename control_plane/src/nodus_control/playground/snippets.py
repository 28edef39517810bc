"""A job as code that submits it: Python, async Python, the command line, curl. Each can be pasted as it is."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nodus_core.spec import FIELDS, IDEMPOTENCY_KEY
from nodus_core.suppliers_file import SupplierKind

from .shell import join, quote

_OTHER_OPTIONS = ("command", "env", "require_tiers", "labels")
_PLAIN_OPTIONS = (*(name for name in FIELDS if name not in _OTHER_OPTIONS), IDEMPOTENCY_KEY)


@dataclass(frozen=True, slots=True)
class Caller:
    """Where the code calls, and as whom. A key without a signing secret does not sign."""

    base_url: str
    api_key: str = field(repr=False)
    signing_secret: str | None = field(default=None, repr=False)


def snippets(payload: Mapping[str, Any], caller: Caller) -> dict[str, str]:
    """Return the code for a submission's valid payload, by language."""
    return {
        "python": "import nodus\n\n" + _session(payload, caller, "with nodus.Client", ""),
        "async": (
            "import asyncio\n\nimport nodus\n\n\nasync def main() -> None:\n"
            + textwrap.indent(_session(payload, caller, "async with nodus.AsyncClient", "await "), "    ")
            + "\n\nasyncio.run(main())\n"
        ),
        "cli": _exports(caller) + _command_line(payload),
        "curl": _exports(caller) + _curl(payload, caller),
    }


def _session(payload: Mapping[str, Any], caller: Caller, opening: str, wait: str) -> str:
    settings = [f"base_url={_literal(caller.base_url)}", f"api_key={_literal(caller.api_key)}"]
    if caller.signing_secret is not None:
        settings.append(f"signing_secret={_literal(caller.signing_secret)}")
    lines = [
        f"{opening}({', '.join(settings)}) as client:",
        f"    job = {wait}client.run(",
        *(f"        {name}={_argument(name, value)}," for name, value in payload.items()),
        "    )",
        f"    {wait}job.wait()",
        "    print(job.status, job.supplier, job.cost_usd)",
    ]
    return "\n".join(lines) + "\n"


def _argument(name: str, value: Any) -> str:
    if name == "require_tiers":
        return f"[{', '.join(f'nodus.SupplierKind.{SupplierKind(tier).name}' for tier in value)}]"
    return _literal(value)


def _literal(value: Any) -> str:
    """Write a JSON value as Python. For these types, JSON text in ASCII is a Python expression too.

    The exception is a character beyond 16 bits, which JSON escapes as two halves; it is written as itself.
    """
    if isinstance(value, str) and not value.isascii():
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(name)}: {_literal(setting)}' for name, setting in value.items())}}}"
    return json.dumps(value)


def _exports(caller: Caller) -> str:
    variables = {"NODUS_BASE_URL": caller.base_url, "NODUS_API_KEY": caller.api_key}
    if caller.signing_secret is not None:
        variables["NODUS_SIGNING_SECRET"] = caller.signing_secret
    return f"export {' '.join(f'{name}={quote(value)}' for name, value in variables.items())}\n"


def _command_line(payload: Mapping[str, Any]) -> str:
    command = payload.get("command")
    program = [f"-- {join(command)}"] if command else []
    first, *options = _options(payload)
    return " \\\n    ".join([f"nodus run {first}", *options, "--wait", *program]) + "\n"


def _options(payload: Mapping[str, Any]) -> Iterator[str]:
    for name in _PLAIN_OPTIONS:
        if name in payload:
            yield _option(name, payload[name])
    for name, setting in payload.get("env", {}).items():
        yield _option("env", f"{name}={setting}")
    for key, value in payload.get("labels", {}).items():
        yield _option("label", f"{key}={value}")
    for tier in payload.get("require_tiers", []):
        yield _option("require_tier", tier)


def _option(name: str, value: object) -> str:
    text = str(value)
    # A value that looks like an option must be joined to its own.
    return f"--{name.replace('_', '-')}{'=' if text.startswith('-') else ' '}{quote(text)}"


def _curl(payload: Mapping[str, Any], caller: Caller) -> str:
    signature = ""
    lines = [f"body={quote(json.dumps(payload, ensure_ascii=False))}"]
    if caller.signing_secret is not None:
        lines += [
            "ts=$(date +%s)",
            'sum=$(printf %s "$body" | openssl dgst -sha256 -r | cut -c 1-64)',
            'mac=$(printf %s "$ts.POST./v1/jobs.$sum" |'
            ' openssl dgst -sha256 -hmac "$NODUS_SIGNING_SECRET" -r | cut -c 1-64)',
        ]
        signature = '    -H "Nodus-Signature: v1=$mac,ts=$ts" \\\n'
    lines += [
        'curl -sS "$NODUS_BASE_URL/v1/jobs" \\',
        '    -H "Authorization: Bearer $NODUS_API_KEY" \\',
        '    -H "Content-Type: application/json" \\',
        f'{signature}    -d "$body"',
    ]
    return "\n".join(lines) + "\n"
