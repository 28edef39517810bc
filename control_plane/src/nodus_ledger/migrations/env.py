"""What Alembic runs: the revisions that are missing, in the transaction that `bring_up` was called in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
