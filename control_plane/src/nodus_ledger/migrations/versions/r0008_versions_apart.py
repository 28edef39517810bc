"""What changes with every job, apart from what is locked; and found by how often it has changed.

Revision ID: 0008
Revises: 0007
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_APPEND_ONLY = "the trust ledger is append-only"
_REMOVED_EARLY = "autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_threshold=200, autovacuum_vacuum_cost_delay=0"


def upgrade() -> None:
    """Make the tables, with what the former ones hold."""
    _states_of_logs()
    _reservations()
    _spend_of_months()
    if op.get_bind().dialect.name == "postgresql":
        for table in ("ledger_states", "reservations", "monthly_spend"):
            op.execute(f"ALTER TABLE {table} SET ({_REMOVED_EARLY})")


def _states_of_logs() -> None:
    op.create_table(
        "ledger_states",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_hash", sa.LargeBinary(), nullable=False),
        sa.Column("subtrees", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "size"),
        sqlite_with_rowid=False,
    )
    columns = "customer_id, size, last_hash, subtrees"
    op.execute(f"INSERT INTO ledger_states ({columns}) SELECT {columns} FROM ledger_heads")
    # Made anew, rather than without some columns: its pages are full of former versions.
    op.drop_table("ledger_heads")
    op.create_table(
        "ledger_heads",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO ledger_heads (customer_id) SELECT customer_id FROM ledger_states")
    if op.get_bind().dialect.name == "postgresql":
        _protect_on_postgresql()
    else:
        _protect_on_sqlite()


def _reservations() -> None:
    op.create_table(
        "reservations",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("in_flight", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "changes"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO reservations (key_id, changes, in_flight) SELECT id, 0, in_flight FROM api_keys")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_column("api_keys", "in_flight")
        names = ", ".join(setting.partition("=")[0] for setting in _REMOVED_EARLY.split(", "))
        op.execute(f"ALTER TABLE api_keys RESET (fillfactor, {names})")
    else:
        _keys_without_reservations_on_sqlite()


def _keys_without_reservations_on_sqlite() -> None:
    """Have another table take the place of the keys': not every SQLite can drop a column."""
    connection = op.get_bind()
    definition = str(connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'api_keys'").scalar_one())
    without, dropped = re.subn(r"\s*\bin_flight BIGINT DEFAULT '0' NOT NULL,", "", definition)
    if dropped != 1:
        raise RuntimeError("the table of keys has no column in_flight")
    names = [each["name"] for each in sa.inspect(connection).get_columns("api_keys")]
    columns = ", ".join(f'"{name}"' for name in names if name != "in_flight")
    op.rename_table("api_keys", "api_keys_before")
    connection.exec_driver_sql(without)
    connection.exec_driver_sql(f"INSERT INTO api_keys ({columns}) SELECT {columns} FROM api_keys_before")
    op.drop_table("api_keys_before")


def _spend_of_months() -> None:
    op.rename_table("monthly_spend", "monthly_spend_before")
    op.create_table(
        "monthly_spend",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("realised", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "month", "changes"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO monthly_spend (key_id, month, changes, realised) "
        "SELECT key_id, month, 0, realised FROM monthly_spend_before"
    )
    op.drop_table("monthly_spend_before")


def _protect_on_sqlite() -> None:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
    op.execute(f"CREATE TRIGGER ledger_heads_no_update BEFORE UPDATE ON ledger_heads {refuse}")
    op.execute(f"CREATE TRIGGER ledger_heads_no_delete BEFORE DELETE ON ledger_heads {refuse}")
    op.execute(f"CREATE TRIGGER ledger_states_no_delete BEFORE DELETE ON ledger_states {refuse}")
    op.execute(
        "CREATE TRIGGER ledger_states_only_grow BEFORE UPDATE ON ledger_states "
        f"WHEN NEW.customer_id <> OLD.customer_id OR NEW.size <= OLD.size {refuse}"
    )


def _protect_on_postgresql() -> None:
    refuse = "EXECUTE FUNCTION nodus_append_only()"
    op.execute(f"CREATE TRIGGER ledger_heads_no_change BEFORE UPDATE OR DELETE ON ledger_heads FOR EACH ROW {refuse}")
    for table in ("ledger_heads", "ledger_states"):
        op.execute(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}")
    op.execute(f"CREATE TRIGGER ledger_states_no_delete BEFORE DELETE ON ledger_states FOR EACH ROW {refuse}")
    op.execute(
        "CREATE TRIGGER ledger_states_only_grow BEFORE UPDATE ON ledger_states FOR EACH ROW "
        f"WHEN (NEW.customer_id <> OLD.customer_id OR NEW.size <= OLD.size) {refuse}"
    )
