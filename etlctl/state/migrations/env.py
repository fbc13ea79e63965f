"""Alembic's entry: runs the migration scripts on the connection that ``etlctl.state.upgrade`` hands over."""

from __future__ import annotations

from alembic import context

from etlctl.state.schema import metadata
from etlctl.state.statements import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite changes a table by making a new one.
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
