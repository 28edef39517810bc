"""The command's exit statuses, and what they mean."""

from __future__ import annotations

from .. import _errors

OK = 0
JOB_NOT_COMPLETED = 1
USAGE = 2
CONFIGURATION = 3
NOT_FOUND = 4
INVALID_SPEC = 5
NO_CAPACITY = 6
BUDGET = 7
NETWORK = 8
SIGNATURE = 9
API_ERROR = 10
OUTPUT_LOST = 74
WAIT_TIMED_OUT = 124
INTERRUPTED = 130
TERMINATED = 143

MEANINGS = {
    OK: "success",
    JOB_NOT_COMPLETED: "the job that was waited for failed, or was cancelled",
    USAGE: "the command line cannot be understood",
    CONFIGURATION: "credentials or settings are missing, invalid or refused",
    NOT_FOUND: "there is no such job, webhook or row",
    INVALID_SPEC: "the job's spec, or another value, is outside its limits",
    NO_CAPACITY: "no supplier has capacity right now, or there were too many requests",
    BUDGET: "the job might take the key past its monthly cap",
    NETWORK: "the control plane cannot be reached, or did not answer in time",
    SIGNATURE: "a signature is missing, stale or wrong, or the Trust Ledger does not verify",
    API_ERROR: "any other API error",
    OUTPUT_LOST: "the output could not be written, to a full disk for example; the command itself may have succeeded",
    WAIT_TIMED_OUT: "`--timeout` passed before the job was over; the job goes on",
    INTERRUPTED: "interrupted by Ctrl-C; the job goes on, unless `--cancel-on-interrupt` was given",
    TERMINATED: "the same, by SIGTERM",
}

WITHOUT_ERROR = frozenset((OK, JOB_NOT_COMPLETED, INTERRUPTED, TERMINATED))
"""Statuses with which `--json` leaves stderr empty: a failed job is on stdout, and an interrupt was asked for."""

OF_ERROR: dict[type[_errors.NodusError], int] = {
    _errors.ConfigurationError: CONFIGURATION,
    _errors.AuthenticationError: CONFIGURATION,
    _errors.NotFoundError: NOT_FOUND,
    _errors.ValidationError: INVALID_SPEC,
    _errors.RateLimitError: NO_CAPACITY,
    _errors.SupplierUnavailableError: NO_CAPACITY,
    _errors.BudgetExceededError: BUDGET,
    _errors.APIConnectionError: NETWORK,
    _errors.SignatureError: SIGNATURE,
    _errors.LedgerError: SIGNATURE,
    _errors.JobTimeoutError: WAIT_TIMED_OUT,
    _errors.APIError: API_ERROR,
    _errors.NodusError: API_ERROR,
}


def of_error(error: _errors.NodusError) -> int:
    """Return the exit status for an error: that of its class, else of the nearest base class in the table."""
    return next(OF_ERROR[kind] for kind in type(error).__mro__ if kind in OF_ERROR)


def of_signal(number: int) -> int:
    """Return the exit status of a command that a signal ended, as shells report it."""
    return 128 + number
