"""The tables of the Trust Ledger, and the triggers that keep their rows from being changed.

The triggers are created with the tables, in a variant for each kind of database. They stop everybody who goes through
the database; changes made below it, in its file, are found by `verify`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    ScalarSelect,
    String,
    Table,
    Text,
    delete,
    event,
    select,
    text,
)

from .schema import metadata as metadata
from .schema import vacuum_early

ledger = Table(
    "ledger",
    metadata,
    Column("customer_id", String, nullable=False),
    Column("seq", BigInteger, nullable=False),  # from 1, without gaps, in each customer's log
    Column("at", String, nullable=False),  # RFC 3339: the text that was hashed
    Column("kind", String, nullable=False),
    Column("job_id", String),
    Column("key_id", String),
    Column("principal_kind", String),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("leaf", Text, nullable=False),  # canonical, as hashed; the payload is in here alone
    Column("leaf_hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("customer_id", "seq"),
    sqlite_with_rowid=False,
)
Index(
    "ledger_by_job",
    ledger.c.customer_id,
    ledger.c.job_id,
    ledger.c.seq,
    sqlite_where=text("job_id IS NOT NULL"),
    postgresql_where=text("job_id IS NOT NULL"),
)
Index(
    "ledger_by_key",
    ledger.c.customer_id,
    ledger.c.key_id,
    ledger.c.seq,
    sqlite_where=text("key_id IS NOT NULL"),
    postgresql_where=text("key_id IS NOT NULL"),
)

# A row for each log, which whoever appends locks, and nobody changes.
heads = Table(
    "ledger_heads",
    metadata,
    Column("customer_id", String, primary_key=True),
    sqlite_with_rowid=False,
)

# How far each log has got: one row for each, which every append changes. While a snapshot is open, PostgreSQL keeps its
# former versions; the size is in the key, so that who asks for the largest finds the present one without reading them.
states = Table(
    "ledger_states",
    metadata,
    Column("customer_id", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_hash", LargeBinary, nullable=False),  # the last row's leaf hash
    Column("subtrees", LargeBinary, nullable=False),  # the roots of the perfect subtrees, the largest first
    PrimaryKeyConstraint("customer_id", "size"),
    sqlite_with_rowid=False,
)
vacuum_early(states)

nodes = Table(
    "ledger_nodes",
    metadata,
    Column("customer_id", String, nullable=False),
    Column("level", Integer, nullable=False),  # over 2^level leaves; every eighth level is kept
    Column("position", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("customer_id", "level", "position"),
    sqlite_with_rowid=False,
)

checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("customer_id", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),  # as it was given out
    PrimaryKeyConstraint("customer_id", "size"),
)

meter_events = Table(
    "meter_events",
    metadata,
    Column("identifier", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("event_name", String, nullable=False),
    Column("timestamp", BigInteger, nullable=False),  # Unix seconds
    Column("livemode", Boolean, nullable=False),
    Column("payload", Text, nullable=False),  # JSON, every value of it a string
    Column("exported_at", BigInteger),  # when it was delivered
    Column("value", BigInteger, nullable=False, server_default="0"),  # as in the payload
    Column("state", String, nullable=False, server_default="pending"),  # see nodus_core.meter_rules
    # As it was sent: corrected afterwards, it would be another event under the same identifier.
    Column("stripe_customer", String),
    Column("meter_name", String),
    Column("first_sent_at", BigInteger),  # when it may first have arrived; None if it certainly never did
    Column("last_sent_at", BigInteger),
    Column("next_at", BigInteger, nullable=False, server_default="0"),
)
Index(
    "meter_events_pending",
    meter_events.c.customer_id,
    meter_events.c.livemode,
    meter_events.c.timestamp,
    sqlite_where=text("state = 'pending'"),
    postgresql_where=text("state = 'pending'"),
)
Index(
    "meter_events_sent",
    meter_events.c.stripe_customer,
    meter_events.c.timestamp,
    sqlite_where=text("stripe_customer IS NOT NULL"),
    postgresql_where=text("stripe_customer IS NOT NULL"),
)
Index(
    "meter_events_exported",
    meter_events.c.exported_at,
    sqlite_where=text("exported_at IS NOT NULL"),
    postgresql_where=text("exported_at IS NOT NULL"),
)

# What a meter lacks of a minute, by events that nobody can name.
meter_gaps = Table(
    "meter_gaps",
    metadata,
    Column("stripe_customer", String, nullable=False),
    Column("meter_name", String, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("minute", BigInteger, nullable=False),  # its first second, Unix
    Column("customer_id", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("stripe_customer", "meter_name", "livemode", "minute"),
)

# The error reports that Stripe announced; only the id of one is believed.
stripe_events = Table(
    "stripe_events",
    metadata,
    Column("id", String, primary_key=True),
    Column("livemode", Boolean, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),  # None once it is booked
)

_APPEND_ONLY = "the trust ledger is append-only"

SQLITE_TRIGGERS: Mapping[str, str] = {
    **{
        f"{table}_no_{action.lower()}": f"BEFORE {action} ON {table} BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
        for table in ("ledger", "ledger_nodes", "ledger_checkpoints", "ledger_heads")
        for action in ("UPDATE", "DELETE")
    },
    # REPLACE would take the place of a row without a DELETE that triggers see.
    "ledger_no_replace": (
        "BEFORE INSERT ON ledger WHEN EXISTS "
        "(SELECT 1 FROM ledger WHERE customer_id = NEW.customer_id AND seq = NEW.seq) "
        f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
    ),
    "ledger_states_no_delete": f"BEFORE DELETE ON ledger_states BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END",
    "ledger_states_only_grow": (
        "BEFORE UPDATE ON ledger_states WHEN NEW.customer_id <> OLD.customer_id OR NEW.size <= OLD.size "
        f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
    ),
}
"""On SQLite: the name of each trigger, and what follows it in `CREATE TRIGGER`."""

POSTGRESQL_FUNCTION = (
    "CREATE OR REPLACE FUNCTION nodus_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$"
)
"""What every trigger on PostgreSQL runs."""

POSTGRESQL_TRIGGERS: Mapping[str, str] = {
    **{
        f"{table}_no_change": f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION nodus_append_only()"
        for table in ("ledger", "ledger_nodes", "ledger_checkpoints", "ledger_heads")
    },
    **{
        f"{table}_no_truncate": f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION nodus_append_only()"
        for table in ("ledger", "ledger_nodes", "ledger_checkpoints", "ledger_heads", "ledger_states")
    },
    "ledger_states_no_delete": ("BEFORE DELETE ON ledger_states FOR EACH ROW EXECUTE FUNCTION nodus_append_only()"),
    "ledger_states_only_grow": (
        "BEFORE UPDATE ON ledger_states FOR EACH ROW "
        "WHEN (NEW.customer_id <> OLD.customer_id OR NEW.size <= OLD.size) EXECUTE FUNCTION nodus_append_only()"
    ),
}
"""On PostgreSQL: the name of each trigger, and what follows it in `CREATE TRIGGER`."""

_PROTECTED = (ledger, nodes, checkpoints, heads, states)


def newest_size(customer_id: Column[str]) -> ScalarSelect[int]:
    """Return the query, inside one on another table, of the size of a customer's log; of none, it is NULL."""
    size = states.c.size
    newest = select(size).where(states.c.customer_id == customer_id).order_by(size.desc()).limit(1)
    return newest.correlate(customer_id.table).scalar_subquery()


def create_statements(dialect: str) -> Sequence[str]:
    """Return the statements that create the triggers, on a database that has the tables and none of the triggers."""
    if dialect == "postgresql":
        return [POSTGRESQL_FUNCTION, *_creations(POSTGRESQL_TRIGGERS)]
    return _creations(SQLITE_TRIGGERS)


def drop_statements(dialect: str) -> Sequence[str]:
    """Return the statements that drop the triggers."""
    if dialect == "postgresql":
        return [f"DROP TRIGGER IF EXISTS {name} ON {_table_of(name)}" for name in POSTGRESQL_TRIGGERS]
    return [f"DROP TRIGGER IF EXISTS {name}" for name in SQLITE_TRIGGERS]


def empty(connection: Connection) -> None:
    """Remove everything, and create the triggers again: only for a playground that starts over."""
    dialect = connection.dialect.name
    for statement in drop_statements(dialect):
        connection.exec_driver_sql(statement)
    for table in (*_PROTECTED, meter_events, meter_gaps, stripe_events):
        connection.execute(delete(table))
    for statement in create_statements(dialect):
        connection.exec_driver_sql(statement)


def _creations(triggers: Mapping[str, str]) -> list[str]:
    return [f"CREATE TRIGGER {name} {definition}" for name, definition in triggers.items()]


def _table_of(trigger: str) -> str:
    return max((table.name for table in _PROTECTED if trigger.startswith(table.name)), key=len)


def _put_up(table: Table, connection: Connection, **_options: object) -> None:
    dialect = connection.dialect.name
    triggers = POSTGRESQL_TRIGGERS if dialect == "postgresql" else SQLITE_TRIGGERS
    if dialect == "postgresql":
        connection.exec_driver_sql(POSTGRESQL_FUNCTION)
    for statement in _creations({name: triggers[name] for name in triggers if _table_of(name) == table.name}):
        connection.exec_driver_sql(statement)


for _table in _PROTECTED:
    event.listen(_table, "after_create", _put_up)
