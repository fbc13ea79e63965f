"""The outbox: requests that are kept before they are sent, and the commit tokens of destinations that keep none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add two tables; what is there stays."""
    op.create_table(
        "etlctl_outboxes",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.LargeBinary()),
        sa.Column("seq", sa.BigInteger()),
        sa.Column("pledge", sa.LargeBinary()),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_etlctl_outboxes"),
    )
    op.create_table(
        "etlctl_outbox_requests",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lane", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Text(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.PrimaryKeyConstraint("stream", "seq", "number", name="pk_etlctl_outbox_requests"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("etlctl_outbox_requests")
    op.drop_table("etlctl_outboxes")
