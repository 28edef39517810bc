"""The tables. Times are Unix milliseconds of the injected clock, money is micro-USD, unless a name says otherwise."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

metadata = MetaData()

# SQLite numbers rows by itself only in a column of exactly this type.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

# What is left of the former versions of rows that are written again and again is removed early, however large the table
# has grown.
_REMOVED_EARLY = "autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_threshold=200, autovacuum_vacuum_cost_delay=0"


def keep_room(table: Table, fillfactor: int) -> None:
    """Have PostgreSQL fill the pages of a table, as it is made, up to so many percent, and vacuum it early.

    The room is for the next versions of a row, which then need no entry in any index.
    """
    _set_storage(table, f"fillfactor={fillfactor}, {_REMOVED_EARLY}")


def vacuum_early(table: Table) -> None:
    """Have PostgreSQL vacuum a table early, as it is made: every version of its rows has an entry in an index."""
    _set_storage(table, _REMOVED_EARLY)


def _set_storage(table: Table, options: str) -> None:
    statement = f"ALTER TABLE {table.name} SET ({options})"

    def keep(_table: Table, connection: Connection, **_options: object) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(statement)

    event.listen(table, "after_create", keep)


settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("label", String, nullable=False),
    Column("principal_kind", String, nullable=False),
    Column("is_test", Boolean, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("signing_required", Boolean, nullable=False),
    # A signing secret is sealed here, or in Redis, and then its SHA-256 is here.
    Column("signing_secret", LargeBinary),
    Column("signing_secret_hash", LargeBinary),
    Column("previous_signing_secret", LargeBinary),
    Column("previous_signing_secret_hash", LargeBinary),
    Column("previous_signing_secret_until", BigInteger),  # real time
    Column("monthly_cap", BigInteger),
    Column("threshold_millionths", Integer),  # None for the control plane's own
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("rate_per_second", Integer),  # None for the control plane's own limit, 0 for none
    Column("rate_burst", Integer),
    Column("expires_at", BigInteger),
)

# What changes with every job is apart from its key: one row for each key, and one for each of its months. While a
# snapshot is open, PostgreSQL keeps their former versions; how often a row was changed is in its key, so that who asks
# for the most finds the present one without reading them.
reservations = Table(
    "reservations",
    metadata,
    Column("key_id", String, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("in_flight", BigInteger, nullable=False),
    PrimaryKeyConstraint("key_id", "changes"),
    sqlite_with_rowid=False,
)
vacuum_early(reservations)

# Who a customer is elsewhere. Whoever sends its meter events holds its row by a lease: one call at a time.
customers = Table(
    "customers",
    metadata,
    Column("customer_id", String, primary_key=True),
    Column("stripe_customer", String),
    Column("meter_lease", String),  # names one claim
    Column("meter_lease_until", BigInteger, nullable=False, server_default="0"),
    Column("meter_next_at", BigInteger, nullable=False, server_default="0"),
    Column("meter_tries", Integer, nullable=False, server_default="0"),  # calls in a row that took nothing
)

signature_uses = Table(
    "signature_uses",
    metadata,
    Column("key_id", String, nullable=False),
    Column("signature_hash", LargeBinary, nullable=False),
    Column("idempotency_key", String),  # that came with its first use
    Column("forget_at", BigInteger, nullable=False),  # real time
    PrimaryKeyConstraint("key_id", "signature_hash"),
)
Index("signature_uses_over", signature_uses.c.forget_at)

monthly_spend = Table(
    "monthly_spend",
    metadata,
    Column("key_id", String, nullable=False),
    Column("month", String, nullable=False),  # "2026-11", UTC
    Column("changes", BigInteger, nullable=False),
    Column("realised", BigInteger, nullable=False),
    PrimaryKeyConstraint("key_id", "month", "changes"),
    sqlite_with_rowid=False,
)
vacuum_early(monthly_spend)

jobs = Table(
    "jobs",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("customer_id", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("principal_kind", String, nullable=False),
    Column("idempotency_scope", String, nullable=False, server_default=""),  # an agent's key id, else empty
    Column("endpoint", String, nullable=False),
    Column("idempotency_key", String),
    Column("fingerprint", LargeBinary, nullable=False),  # HMAC of the canonical spec
    Column("image", String, nullable=False),
    Column("gpu", String, nullable=False),
    Column("gpu_count", Integer, nullable=False),
    Column("max_runtime_seconds", Integer, nullable=False),
    Column("require_tiers", String, nullable=False),  # by comma
    Column("prefer_region", String),
    Column("name", String),
    Column("labels", Text),  # as canonical JSON; None for none
    Column("max_cost_micros", BigInteger),
    Column("queue_timeout_seconds", Integer),
    Column("sealed", LargeBinary, nullable=False),  # env and command; empty once terminal
    Column("steering", LargeBinary),  # what of env steers a simulated job, sealed: its output follows from that
    Column("created_at", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),  # now: 0 while it waits for budget
    Column("reserved_rate", BigInteger, nullable=False),  # what its first reservation was made of
    Column("reserved_at", BigInteger),  # when what is reserved was last decided; None for as it was submitted
    Column("estimated", BigInteger),  # the last that was reserved, if it is no more
    Column("queued_at", BigInteger),  # when it was last lost; None for never
    Column("simulated", Boolean),  # None for a job from before this was recorded, which counts as simulated
    # What transitions change.
    Column("status", String, nullable=False),
    Column("placements", Integer, nullable=False),
    Column("supplier", String),
    Column("region", String),
    Column("rate", BigInteger),
    Column("placed_at", BigInteger),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("finished_day", Integer),  # the same, as a UTC day counted from 1970
    Column("error_code", String),
    Column("error_message", Text),
    Column("duration_ms", BigInteger),
    Column("cost", BigInteger),
    Column("retail", BigInteger),
    Column("events", Integer, nullable=False),  # transitions so far
    # What the worker needs.
    Column("attempt", Integer, nullable=False),  # number of the last submission to a driver
    Column("open_attempt", Boolean, nullable=False),  # whether that one is neither refused, lost nor over
    Column("cancel_requested_at", BigInteger),
    Column("due_at", BigInteger),  # None once terminal, and while it waits
    Column("waiting_since", BigInteger),  # for a place, and not given to any supplier meanwhile
    Column("waiting_in", String),  # the queue of those of its customer that can go where it can
    Column("passed_over_at", BigInteger),  # when another was first placed where there were too few GPUs for it
    Column("reserves", String),  # whose GPUs are kept for it as they come free
    Column("budget_needs", BigInteger),  # the least that could be reserved for it, since it began to wait for budget
    Column("phase", String),  # what its engine is doing, while that is not what its status says
    Column("phase_detail", Text),
    Column("generation", Integer, nullable=False),
    Column("lease_owner", String),
    Column("lease_until", BigInteger),  # real time
    # Where the terminal transition stands in the Trust Ledger.
    Column("ledger_seq", BigInteger),
    Column("ledger_hash", LargeBinary),
    UniqueConstraint("customer_id", "idempotency_scope", "endpoint", "idempotency_key"),
)
keep_room(jobs, 80)
Index("jobs_by_customer", jobs.c.customer_id, jobs.c.seq)
Index("jobs_by_time", jobs.c.customer_id, jobs.c.created_at, jobs.c.seq)
Index("jobs_by_status", jobs.c.customer_id, jobs.c.status, jobs.c.seq)
Index(
    "jobs_by_name",
    jobs.c.customer_id,
    jobs.c.name,
    jobs.c.status,
    jobs.c.seq,
    sqlite_where=text("name IS NOT NULL"),
    postgresql_where=text("name IS NOT NULL"),
)
# All that usage asks for, so that no row is read, in an order in which whatever it groups by follows each other.
Index(
    "jobs_by_day",
    jobs.c.customer_id,
    jobs.c.finished_day,
    jobs.c.principal_kind,
    jobs.c.key_id,
    jobs.c.supplier,
    jobs.c.region,
    jobs.c.gpu,
    jobs.c.status,
    jobs.c.simulated,
    jobs.c.finished_at,
    jobs.c.gpu_count,
    jobs.c.duration_ms,
    jobs.c.cost,
    jobs.c.retail,
    sqlite_where=text("finished_day IS NOT NULL"),
    postgresql_where=text("finished_day IS NOT NULL"),
)
Index(
    "jobs_due",
    jobs.c.due_at,
    sqlite_where=text("due_at IS NOT NULL"),
    postgresql_where=text("due_at IS NOT NULL"),
)
Index(
    "jobs_waiting",
    jobs.c.gpu,
    jobs.c.waiting_in,
    jobs.c.created_at,
    jobs.c.seq,
    sqlite_where=text("waiting_since IS NOT NULL"),
    postgresql_where=text("waiting_since IS NOT NULL"),
)
Index(
    "jobs_passed_over",
    jobs.c.gpu,
    jobs.c.seq,
    sqlite_where=text("passed_over_at IS NOT NULL"),
    postgresql_where=text("passed_over_at IS NOT NULL"),
)
Index(
    "jobs_waiting_for_budget",
    jobs.c.key_id,
    jobs.c.created_at,
    jobs.c.seq,
    sqlite_where=text("budget_needs IS NOT NULL"),
    postgresql_where=text("budget_needs IS NOT NULL"),
)
Index("jobs_open", jobs.c.gpu, sqlite_where=text("open_attempt"), postgresql_where=text("open_attempt"))
IS_OPEN = text("jobs.open_attempt")
"""Whether a supplier has a job, as its index says it, which does not find the `= 1` that SQLite would be told."""

# What is in the column `labels`, a row for each, to find jobs and add up their costs by.
job_labels = Table(
    "job_labels",
    metadata,
    Column("customer_id", String, nullable=False),
    Column("key", String, nullable=False),
    Column("seq", BigInteger, nullable=False),  # the job's
    Column("value", String, nullable=False),
    PrimaryKeyConstraint("customer_id", "key", "seq"),
    sqlite_with_rowid=False,
)
Index("job_labels_by_value", job_labels.c.customer_id, job_labels.c.key, job_labels.c.value, job_labels.c.seq)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("supplier", String, nullable=False),
    Column("region", String, nullable=False),
    Column("rate", BigInteger, nullable=False),
    Column("placed_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("outcome", String),  # None while open; refused, lost, outage, or the job's terminal status
    Column("decision", Text, nullable=False),  # how the router judged every candidate
    Column("engine_ref", String),  # the engine's own name for it
    Column("gpu_indices", String),  # by comma
    Column("unknown_since", BigInteger),  # since when nobody can say whether it runs; None while that is known
    Column("seen_at", BigInteger),  # its last proof of life
    Column("progress_at", BigInteger),  # when what it waits for last made progress
    # For an hour of one GPU, when it was placed: UNPRICED where nobody knew; None for one from before it was recorded.
    Column("retail_rate", BigInteger),
    PrimaryKeyConstraint("job_id", "attempt"),
)

# What there is of a supplier that counts: a row for each GPU, and, where only so many jobs run at once, a row of no GPU
# model for each. It is free, or an attempt's until the supplier has confirmed the end of that.
slots = Table(
    "slots",
    metadata,
    Column("supplier", String, nullable=False),
    Column("gpu", String, nullable=False),
    Column("index", Integer, nullable=False),  # from 0
    Column("job_id", String),
    Column("attempt", Integer),
    Column("customer_id", String),
    Column("retired", Boolean, nullable=False, server_default=text("false")),  # it is gone once it is free
    PrimaryKeyConstraint("supplier", "gpu", "index"),
)
keep_room(slots, 50)
Index(
    "slots_free",
    slots.c.gpu,
    slots.c.supplier,
    slots.c.index,
    sqlite_where=text("job_id IS NULL"),
    postgresql_where=text("job_id IS NULL"),
)
Index(
    "slots_taken", slots.c.job_id, sqlite_where=text("job_id IS NOT NULL"), postgresql_where=text("job_id IS NOT NULL")
)

# Whoever places jobs of a GPU model holds its row here.
passes = Table("passes", metadata, Column("gpu", String, primary_key=True))

# Which placement of a GPU model was a customer's last, of all customers' counted together. Those of simulated jobs are
# counted by themselves, under a name of the model that no real one has.
turns = Table(
    "turns",
    metadata,
    Column("gpu", String, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("turn", BigInteger, nullable=False),
    PrimaryKeyConstraint("gpu", "customer_id"),
)
keep_room(turns, 50)
Index("turns_latest", turns.c.gpu, turns.c.turn)

events = Table(
    "events",
    metadata,
    Column("id", _Sequence, primary_key=True, autoincrement=True),
    Column("customer_id", String, nullable=False),
    Column("job_id", String, nullable=False),
    Column("position", BigInteger, nullable=False),  # `seq` of the transition's row in the Trust Ledger
    Column("seq", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("supplier", String),
    Column("region", String),
    Column("reason", String),
    UniqueConstraint("job_id", "seq"),
    UniqueConstraint("customer_id", "position"),
)

# A worker's last sign of life: its row stays when it has stopped, until others have forgotten it.
workers = Table(
    "workers",
    metadata,
    Column("id", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("version", String, nullable=False),
    Column("started_at", BigInteger, nullable=False),  # real time
    Column("seen_at", BigInteger, nullable=False),  # real time
    Column("unreachable", Text),  # the suppliers that it does not reach, by comma; None before this was recorded
)

# Whose a supplier is that keeps the jobs of several customers no better apart than those of one.
owners = Table(
    "owners",
    metadata,
    Column("supplier", String, primary_key=True),
    Column("customer_id", String, nullable=False),
)

outages = Table(
    "outages",
    metadata,
    Column("supplier", String, primary_key=True),
    Column("since", BigInteger, nullable=False),
)
