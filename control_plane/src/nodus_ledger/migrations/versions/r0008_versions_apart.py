"""How far each log has got, apart from the row that is locked.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_APPEND_ONLY = "the trust ledger is append-only"
_REMOVED_EARLY = "autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_threshold=200, autovacuum_vacuum_cost_delay=0"


def upgrade() -> None:
    """Make the tables, with what the former one holds."""
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
        op.execute(f"ALTER TABLE ledger_states SET ({_REMOVED_EARLY})")
    else:
        _protect_on_sqlite()


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
