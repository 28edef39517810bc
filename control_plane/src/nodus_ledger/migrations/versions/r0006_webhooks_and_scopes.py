"""Endpoints that do not answer, sealed URLs, idempotency keys of agents, and the name of existing logs.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_BEFORE = ("customer_id", "endpoint", "idempotency_key")
_AFTER = ("customer_id", "idempotency_scope", "endpoint", "idempotency_key")


def upgrade() -> None:
    """Add the columns and indexes; let the keys of agents be unique by themselves; keep the name of existing logs."""
    op.add_column("webhook_endpoints", sa.Column("sealed_url", sa.LargeBinary()))
    op.add_column("webhook_endpoints", sa.Column("failed", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("webhook_endpoints", sa.Column("unanswered", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("webhook_endpoints", sa.Column("failing_since", sa.BigInteger()))
    op.add_column("webhook_endpoints", sa.Column("held_until", sa.BigInteger()))
    op.add_column("webhook_endpoints", sa.Column("disabled_reason", sa.String()))
    op.execute("UPDATE webhook_endpoints SET disabled_reason = 'gone' WHERE disabled_at IS NOT NULL")
    _index("webhook_deliveries_pending", "webhook_deliveries", ["endpoint_id", "due_at", "seq"], "due_at IS NOT NULL")
    _index("webhook_endpoints_held", "webhook_endpoints", ["held_until"], "held_until IS NOT NULL")
    _index("ledger_by_key", "ledger", ["customer_id", "key_id", "seq"], "key_id IS NOT NULL")
    op.execute(
        "INSERT INTO settings (name, value) SELECT 'ledger origin', 'nodus.run/ledger' "
        "WHERE EXISTS (SELECT 1 FROM ledger) AND NOT EXISTS (SELECT 1 FROM settings WHERE name = 'ledger origin')"
    )
    op.add_column("jobs", sa.Column("idempotency_scope", sa.String(), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "postgresql":
        _scope_on_postgresql()
    else:
        _scope_on_sqlite()


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _scope_on_postgresql() -> None:
    found = sa.inspect(op.get_bind()).get_unique_constraints("jobs")
    (name,) = [str(each["name"]) for each in found if tuple(each["column_names"]) == _BEFORE]
    op.drop_constraint(name, "jobs", type_="unique")
    # Without a name, so that it gets the one that it has in a new database.
    op.execute(f"ALTER TABLE jobs ADD UNIQUE ({', '.join(_AFTER)})")


def _scope_on_sqlite() -> None:
    """SQLite cannot change a constraint: another table, with all columns that there are by now, takes its place."""
    connection = op.get_bind()
    # Whatever earlier revisions made of the table, its own definition says it.
    parts = "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'jobs' AND sql IS NOT NULL"
    definitions = [(str(kind), str(sql)) for kind, sql in connection.exec_driver_sql(parts)]
    (table,) = [sql for kind, sql in definitions if kind == "table"]
    columns = ", ".join(f'"{each["name"]}"' for each in sa.inspect(connection).get_columns("jobs"))
    before, after = (f"UNIQUE ({', '.join(names)})" for names in (_BEFORE, _AFTER))
    if table.count(before) != 1:
        raise RuntimeError(f"the table of jobs has no constraint {before}")
    op.rename_table("jobs", "jobs_before")
    for kind, sql in definitions:
        if kind == "index":
            connection.exec_driver_sql(f"DROP INDEX {_name_of(sql)}")
    connection.exec_driver_sql(table.replace(before, after))
    connection.exec_driver_sql(f"INSERT INTO jobs ({columns}) SELECT {columns} FROM jobs_before")
    op.drop_table("jobs_before")
    for kind, sql in definitions:
        if kind == "index":
            connection.exec_driver_sql(sql)


def _name_of(index: str) -> str:
    """Return the name out of `CREATE [UNIQUE] INDEX name ON …`."""
    return index.split(" INDEX ", 1)[1].split(" ON ", 1)[0]
