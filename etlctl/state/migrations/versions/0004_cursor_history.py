"""Cursors remember what was loaded at them, and who moved them from where to where."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add a column and a table; what is there stays."""
    op.add_column("etlctl_cursors", sa.Column("recent", sa.Text()))
    op.create_table(
        "etlctl_cursor_history",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("value_type", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("stream", "field", "id", name="pk_etlctl_cursor_history"),
    )


def downgrade() -> None:
    """Drop the table and the column."""
    op.drop_table("etlctl_cursor_history")
    op.drop_column("etlctl_cursors", "recent")
