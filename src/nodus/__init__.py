"""Nodus: submit GPU jobs, follow them to their end, see what they cost.

    with nodus.Client() as client:
        job = client.run(image="ghcr.io/acme/train:v3", gpu="h100_80gb")
        job.wait()
        print(job.status, job.supplier, job.cost_usd)

Start with `Client`, or with `AsyncClient`, which is the same with `await`, on asyncio and trio. Their methods return
`Job` handles; every failure is a `NodusError`. Everything here loads when first used: `import nodus` is quick, and
signing or verifying never loads the HTTP stack.
"""

from __future__ import annotations

import importlib

from ._version import __version__

# Type checkers take this name for `typing`'s; importing that would take longer than all the rest of this. It is false,
# but not the constant: editors that complete names with jedi would skip the branch.
TYPE_CHECKING = bool()  # noqa: UP018 -- a literal is what jedi must not see

if TYPE_CHECKING:
    from ._async.client import AsyncClient
    from ._async.event_stream import AsyncEventStream
    from ._async.job import AsyncJob
    from ._async.ledger import AsyncLedger
    from ._async.log_stream import AsyncLogStream
    from ._async.statement import AsyncStatement
    from ._async.webhooks import AsyncWebhooks
    from ._enums import (
        GpuType,
        JobStatus,
        PrincipalKind,
        SupplierKind,
    )
    from ._errors import (
        APIConnectionError,
        APIError,
        APITimeoutError,
        AuthenticationError,
        BudgetExceededError,
        BudgetPayload,
        ConfigurationError,
        Fitting,
        JobTimeoutError,
        LargestFitting,
        LedgerError,
        NodusError,
        NotFoundError,
        RateLimitError,
        SignatureError,
        SupplierUnavailableError,
        ValidationError,
    )
    from ._events import (
        BudgetExceeded,
        BudgetThresholdReached,
        JobCancelled,
        JobCompleted,
        JobFailed,
        JobPlaced,
        UnknownEvent,
        WebhookEvent,
        construct_event,
    )
    from ._hooks import ResponseEvent, RetryEvent
    from ._ledger import (
        LedgerReport,
        verify_consistency,
        verify_inclusion,
        verify_ledger,
    )
    from ._models import JobSpec, JobView, LedgerRow
    from ._replay import InMemoryReplayGuard, ReplayGuard
    from ._resources import (
        ConsistencyProof,
        Delivery,
        DeliveryAttempt,
        InclusionProof,
        JobEvent,
        KeyView,
        LedgerCheckpoint,
        LedgerEntry,
        LedgerKey,
        Offer,
        Quote,
        QuoteCandidate,
        QuotedPlace,
        Routing,
        RoutingCandidate,
        RoutingRequirements,
        Webhook,
        WebhookSecret,
    )
    from ._signing import sign_request, verify_webhook
    from ._statement import StatementReport, verify_statement
    from ._sync.client import Client
    from ._sync.event_stream import EventStream
    from ._sync.job import Job
    from ._sync.ledger import Ledger
    from ._sync.log_stream import LogStream
    from ._sync.statement import Statement
    from ._sync.webhooks import Webhooks
    from ._usage import Usage, UsageAmounts, UsageGroup

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AsyncClient",
    "AsyncEventStream",
    "AsyncJob",
    "AsyncLedger",
    "AsyncLogStream",
    "AsyncStatement",
    "AsyncWebhooks",
    "AuthenticationError",
    "BudgetExceeded",
    "BudgetExceededError",
    "BudgetPayload",
    "BudgetThresholdReached",
    "Client",
    "ConfigurationError",
    "ConsistencyProof",
    "Delivery",
    "DeliveryAttempt",
    "EventStream",
    "Fitting",
    "GpuType",
    "InMemoryReplayGuard",
    "InclusionProof",
    "Job",
    "JobCancelled",
    "JobCompleted",
    "JobEvent",
    "JobFailed",
    "JobPlaced",
    "JobSpec",
    "JobStatus",
    "JobTimeoutError",
    "JobView",
    "KeyView",
    "LargestFitting",
    "Ledger",
    "LedgerCheckpoint",
    "LedgerEntry",
    "LedgerError",
    "LedgerKey",
    "LedgerReport",
    "LedgerRow",
    "LogStream",
    "NodusError",
    "NotFoundError",
    "Offer",
    "PrincipalKind",
    "Quote",
    "QuoteCandidate",
    "QuotedPlace",
    "RateLimitError",
    "ReplayGuard",
    "ResponseEvent",
    "RetryEvent",
    "Routing",
    "RoutingCandidate",
    "RoutingRequirements",
    "SignatureError",
    "Statement",
    "StatementReport",
    "SupplierKind",
    "SupplierUnavailableError",
    "UnknownEvent",
    "Usage",
    "UsageAmounts",
    "UsageGroup",
    "ValidationError",
    "Webhook",
    "WebhookEvent",
    "WebhookSecret",
    "Webhooks",
    "__version__",
    "construct_event",
    "sign_request",
    "verify_consistency",
    "verify_inclusion",
    "verify_ledger",
    "verify_statement",
    "verify_webhook",
]

_HOME = {
    "APIConnectionError": "_errors",
    "APIError": "_errors",
    "APITimeoutError": "_errors",
    "AsyncClient": "_async.client",
    "AsyncEventStream": "_async.event_stream",
    "AsyncJob": "_async.job",
    "AsyncLedger": "_async.ledger",
    "AsyncStatement": "_async.statement",
    "AsyncLogStream": "_async.log_stream",
    "AsyncWebhooks": "_async.webhooks",
    "AuthenticationError": "_errors",
    "BudgetExceeded": "_events",
    "BudgetExceededError": "_errors",
    "BudgetPayload": "_errors",
    "BudgetThresholdReached": "_events",
    "Client": "_sync.client",
    "ConfigurationError": "_errors",
    "ConsistencyProof": "_resources",
    "Delivery": "_resources",
    "DeliveryAttempt": "_resources",
    "EventStream": "_sync.event_stream",
    "Fitting": "_errors",
    "GpuType": "_enums",
    "InMemoryReplayGuard": "_replay",
    "InclusionProof": "_resources",
    "Job": "_sync.job",
    "JobCancelled": "_events",
    "JobCompleted": "_events",
    "JobEvent": "_resources",
    "JobFailed": "_events",
    "JobPlaced": "_events",
    "JobSpec": "_models",
    "JobStatus": "_enums",
    "JobTimeoutError": "_errors",
    "JobView": "_models",
    "KeyView": "_resources",
    "LargestFitting": "_errors",
    "Ledger": "_sync.ledger",
    "LedgerCheckpoint": "_resources",
    "LedgerEntry": "_resources",
    "LedgerError": "_errors",
    "LedgerKey": "_resources",
    "LedgerReport": "_ledger",
    "LedgerRow": "_models",
    "LogStream": "_sync.log_stream",
    "NodusError": "_errors",
    "NotFoundError": "_errors",
    "Offer": "_resources",
    "PrincipalKind": "_enums",
    "Quote": "_resources",
    "QuoteCandidate": "_resources",
    "QuotedPlace": "_resources",
    "RateLimitError": "_errors",
    "ReplayGuard": "_replay",
    "ResponseEvent": "_hooks",
    "RetryEvent": "_hooks",
    "Routing": "_resources",
    "RoutingCandidate": "_resources",
    "RoutingRequirements": "_resources",
    "SignatureError": "_errors",
    "Statement": "_sync.statement",
    "StatementReport": "_statement",
    "SupplierKind": "_enums",
    "SupplierUnavailableError": "_errors",
    "UnknownEvent": "_events",
    "Usage": "_usage",
    "UsageAmounts": "_usage",
    "UsageGroup": "_usage",
    "ValidationError": "_errors",
    "Webhook": "_resources",
    "WebhookEvent": "_events",
    "WebhookSecret": "_resources",
    "Webhooks": "_sync.webhooks",
    "construct_event": "_events",
    "sign_request": "_signing",
    "verify_consistency": "_ledger",
    "verify_inclusion": "_ledger",
    "verify_ledger": "_ledger",
    "verify_statement": "_statement",
    "verify_webhook": "_signing",
}


if not TYPE_CHECKING:  # a type checker that saw it would accept every name

    def __getattr__(name: str) -> object:
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
