"""Writes docs/reference/api.md, the reference of the public interface, from what each name says of itself.

    python tools/api_reference.py

Signatures come from the code and words from the docstrings; a test holds the page to both.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import nodus  # noqa: E402  # from this checkout, whatever is installed

PAGE = ROOT / "docs" / "reference" / "api.md"

INTRODUCTION = """\
# The Python interface

Every public name, from the code itself. `AsyncClient`, `AsyncJob` and the other names with `Async` have the methods of
their counterparts, with the same arguments and results, to be awaited (`async for` takes the place of `for`). What is
not on this page, or begins with an underscore, may change without notice.
"""

# The part of the page that each name stands in, in the order of the page.
PARTS: dict[str, tuple[str, ...]] = {
    "Clients": ("Client", "AsyncClient"),
    "Jobs": (
        "Job",
        "AsyncJob",
        "JobSpec",
        "JobView",
        "LedgerRow",
        "Routing",
        "RoutingCandidate",
        "RoutingRequirements",
    ),
    "Live": ("JobEvent", "EventStream", "AsyncEventStream", "LogStream", "AsyncLogStream"),
    "Types": ("GpuType", "JobStatus", "SupplierKind", "PrincipalKind"),
    "Errors": (
        "NodusError",
        "ConfigurationError",
        "AuthenticationError",
        "SignatureError",
        "BudgetExceededError",
        "BudgetPayload",
        "NotFoundError",
        "ValidationError",
        "RateLimitError",
        "SupplierUnavailableError",
        "APIError",
        "APIConnectionError",
        "APITimeoutError",
        "JobTimeoutError",
        "LedgerError",
    ),
    "Hooks": ("RetryEvent", "ResponseEvent"),
    "Keys, offers, quotes and usage": (
        "KeyView",
        "Offer",
        "Quote",
        "QuotedPlace",
        "QuoteCandidate",
        "LargestFitting",
        "Fitting",
        "Usage",
        "UsageGroup",
        "UsageAmounts",
    ),
    "Signatures and webhooks": (
        "sign_request",
        "verify_webhook",
        "construct_event",
        "WebhookEvent",
        "JobPlaced",
        "JobCompleted",
        "JobFailed",
        "JobCancelled",
        "BudgetThresholdReached",
        "BudgetExceeded",
        "UnknownEvent",
        "ReplayGuard",
        "InMemoryReplayGuard",
        "Webhooks",
        "AsyncWebhooks",
        "Webhook",
        "WebhookSecret",
        "Delivery",
        "DeliveryAttempt",
    ),
    "The Trust Ledger": (
        "Ledger",
        "AsyncLedger",
        "LedgerEntry",
        "LedgerKey",
        "LedgerCheckpoint",
        "InclusionProof",
        "ConsistencyProof",
        "Statement",
        "AsyncStatement",
        "verify_ledger",
        "verify_inclusion",
        "verify_consistency",
        "LedgerReport",
        "verify_statement",
        "StatementReport",
    ),
}

# What one calls an instance, where the class's name does not say it.
VARIABLES = {
    "EventStream": "stream",
    "LogStream": "stream",
    "ReplayGuard": "guard",
    "InMemoryReplayGuard": "guard",
    "Webhooks": "client.webhooks",
    "Ledger": "client.ledger",
    "Statement": "statement",
}

_SECTION = re.compile(r"(Args|Attributes|Returns|Raises):\Z")
_ITEM = re.compile(r"(\w+): (.*)", re.DOTALL)


def page() -> str:
    """Return the whole page, as Markdown."""
    parts = [INTRODUCTION]
    for title, names in PARTS.items():
        parts.append(f"## {title}\n")
        parts += ["\n".join(_entry(name)) + "\n" for name in names]
    return "\n".join(parts)


def _entry(name: str) -> Iterator[str]:
    """One public name: its signature, what it says, its members."""
    thing = getattr(nodus, name)
    yield f"### {name}"
    yield ""
    if inspect.isfunction(thing):
        yield from _code(_signature(name, thing))
        yield from _described(thing)
        return
    twin = getattr(nodus, name.removeprefix("Async"), thing)
    if twin is not thing:
        yield f"As [{twin.__name__}](#{twin.__name__.lower()}), with `await`."
        yield from _differences(thing, twin)
        return
    if issubclass(thing, nodus.NodusError):
        bases = ", ".join(base.__name__ for base in thing.__bases__)
        yield f"`{name}({bases})`, by default with `.code` `{thing.default_code}`."
        yield ""
    elif _is_for_users(thing):
        yield from _code(_signature(name, thing.__init__))
    yield from _described(thing)
    if issubclass(thing, enum.Enum):
        yield ""
        yield from (f"- `{member.name}` = `{member.value!r}`" for member in thing)
    if not issubclass(thing, nodus.NodusError):
        yield from _properties(thing)
        for method in _methods(thing):
            yield from _method(name, thing, method)


def _is_for_users(kind: type) -> bool:
    """Whether a class is made by its users, rather than given by a call: its docstring then has its arguments."""
    return "Args:" in (kind.__doc__ or "")


def _members(kind: type) -> Iterator[tuple[str, object]]:
    """What a class and those of ours that it builds on define for users, in the order of the code."""
    for one in reversed([one for one in kind.__mro__ if one.__module__.partition(".")[0] == "nodus"]):
        yield from ((name, value) for name, value in vars(one).items() if not name.startswith("_"))


def _properties(kind: type) -> Iterator[str]:
    found = [(name, value) for name, value in _members(kind) if isinstance(value, property)]
    if not found:
        return
    yield from ("", "Read-only:", "")
    for name, value in found:
        returned = "" if value.fget is None else inspect.signature(value.fget).return_annotation
        yield f"- `{name}`: `{returned}`. {_text(inspect.getdoc(value) or '')}"


def _methods(kind: type) -> list[str]:
    return [name for name, value in _members(kind) if inspect.isfunction(value) or isinstance(value, classmethod)]


def _method(owner: str, kind: type, name: str) -> Iterator[str]:
    value = inspect.getattr_static(kind, name)
    yield from ("", f"#### {owner}.{name}()", "")
    if isinstance(value, classmethod):
        yield from _code(_signature(f"{owner}.{name}", value.__func__))
        yield from _described(value.__func__)
    else:
        yield from _code(_signature(f"{VARIABLES.get(owner, owner.lower())}.{name}", value))
        yield from _described(value)


def _differences(kind: type, twin: type) -> Iterator[str]:
    """Methods that only one of a pair has."""
    own, others = _methods(kind), _methods(twin)
    renamed = [name for name in own if name not in others]
    if renamed:
        missing = [name for name in others if name not in own]
        yield ""
        yield f"{_listed(renamed)} in place of {_listed(missing)}."


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}()`" for name in names)


def _signature(name: str, function: object) -> str:
    """A call as one writes it, an argument a line where that is long."""
    signature = inspect.signature(function)  # type: ignore[arg-type]  # every caller gives a function
    shown = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls") and not parameter.name.startswith("_")
    ]
    result = "" if name[0].isupper() and "." not in name else f" -> {signature.return_annotation}"
    words: list[str] = []
    for parameter in shown:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        words.append(_parameter(parameter))
    # A class that has a method `list` must call the type by its full name.
    words, result = [word.replace("builtins.", "") for word in words], result.replace("builtins.", "")
    line = f"{name}({', '.join(words)}){result}"
    if len(line) <= 110:
        return line
    return "\n".join([f"{name}(", *(f"    {word}," for word in words), f"){result}"])


def _parameter(parameter: inspect.Parameter) -> str:
    text = f"**{parameter.name}" if parameter.kind is parameter.VAR_KEYWORD else parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {parameter.annotation}"
    if parameter.default is not parameter.empty:
        default = parameter.default
        text += f" = {str(default) if isinstance(default, enum.Enum) else repr(default)}"
    return text


def _code(text: str) -> Iterator[str]:
    yield from ("```text", text, "```", "")


def _described(thing: object) -> Iterator[str]:
    """A docstring as Markdown: its sections become lists."""
    blocks = [block for block in re.split(r"\n\n+", inspect.getdoc(thing) or "") if not block.startswith(">>>")]
    for number, block in enumerate(blocks):
        if number:
            yield ""
        first, *rest = block.splitlines()
        if _SECTION.match(first):
            yield f"{first.removesuffix(':')}:"
            yield ""
            yield from _items(inspect.cleandoc("\n".join(["", *rest])))
        elif first.startswith("    "):
            yield from (f"    {line}" for line in inspect.cleandoc(block).splitlines())
        else:
            yield _text(block)


def _items(text: str) -> Iterator[str]:
    """The items of a section, each with the lines that are indented below it."""
    for item in re.split(r"\n(?=\S)", text):
        named = _ITEM.match(item)
        if named is None:
            yield f"- {_text(item)}"
        else:
            yield f"- `{named[1]}`: {_text(named[2])}"


def _text(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
