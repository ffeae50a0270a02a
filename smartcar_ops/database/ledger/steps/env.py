"""Alembic's environment: runs the steps on the connection that `versions` passes, in its transaction."""

from alembic import context

from smartcar_ops.database.ledger.versions import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transaction_per_migration=False
)
context.run_migrations()
