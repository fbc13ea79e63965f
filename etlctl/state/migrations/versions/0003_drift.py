"""Drift: what runs found to differ between their records and the destination."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add one table; what is there stays."""
    op.create_table(
        "etlctl_drift",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "destination", "field", "kind", name="pk_etlctl_drift"),
    )
    op.create_index("ix_etlctl_drift_contract_found_at", "etlctl_drift", ["contract", "found_at"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_index("ix_etlctl_drift_contract_found_at", "etlctl_drift")
    op.drop_table("etlctl_drift")
