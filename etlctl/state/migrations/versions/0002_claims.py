"""Claims: leases, checkpoints and cursors; run keys are unique; attempts are kept; letters tell who settled them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Nothing kept two runs from having one key. The newest keeps it; the others, and dry runs, which did nothing under it,
# keep it with their id, as evidence.
_TELL_KEYS_APART = """
    UPDATE etlctl_runs SET run_key = run_key || ' (' || id || ')'
    WHERE run_key IS NOT NULL AND (dry_run OR EXISTS (
        SELECT 1 FROM etlctl_runs AS other
        WHERE other.contract = etlctl_runs.contract AND other.run_key = etlctl_runs.run_key AND NOT other.dry_run AND (
            other.started_at > etlctl_runs.started_at
            OR (other.started_at = etlctl_runs.started_at AND other.id > etlctl_runs.id)
        )
    ))
"""


def _instant(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    """Add three tables and the new columns; what is there stays."""
    _extend_runs()
    op.add_column("etlctl_steps", sa.Column("batch", sa.BigInteger()))
    op.add_column("etlctl_dead_letters", sa.Column("by_run", sa.Text()))
    _create_leases()
    _create_checkpoints()
    _create_cursors()


def _extend_runs() -> None:
    op.add_column("etlctl_runs", sa.Column("checkpoint_id", sa.Text()))
    op.add_column("etlctl_runs", sa.Column("attempt", sa.Integer(), server_default="1", nullable=False))
    op.add_column("etlctl_runs", sa.Column("result", sa.Text()))
    op.add_column("etlctl_runs", sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(_TELL_KEYS_APART)
    op.create_index("ix_etlctl_runs_contract_run_key", "etlctl_runs", ["contract", "run_key"], unique=True)
    op.create_index("ix_etlctl_runs_stream_started_at", "etlctl_runs", ["stream", "started_at"])


def _create_leases() -> None:
    op.create_table(
        "etlctl_leases",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("holder_run", sa.Text()),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        _instant("acquired_at"),
        _instant("expires_at"),
        sa.PrimaryKeyConstraint("stream", name="pk_etlctl_leases"),
    )


def _create_checkpoints() -> None:
    op.create_table(
        "etlctl_checkpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("contract_path", sa.Text(), nullable=False),
        sa.Column("contract_hash", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("params_redacted", sa.Boolean(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("batch_size", sa.BigInteger()),
        sa.Column("max_records", sa.BigInteger()),
        _instant("started_at"),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("position_redacted", sa.Boolean(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        _instant("updated_at"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_etlctl_checkpoints"),
    )


def _create_cursors() -> None:
    op.create_table(
        "etlctl_cursors",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("value_type", sa.Text(), nullable=False),
        _instant("updated_at"),
        sa.Column("run_id", sa.Text()),
        sa.PrimaryKeyConstraint("stream", "field", name="pk_etlctl_cursors"),
    )


def downgrade() -> None:
    """Drop the three tables and the new columns."""
    for table in ("etlctl_cursors", "etlctl_checkpoints", "etlctl_leases"):
        op.drop_table(table)
    for index in ("ix_etlctl_runs_stream_started_at", "ix_etlctl_runs_contract_run_key"):
        op.drop_index(index, "etlctl_runs")
    dropped = {
        "etlctl_dead_letters": ("by_run",),
        "etlctl_steps": ("batch",),
        "etlctl_runs": ("fence", "result", "attempt", "checkpoint_id"),
    }
    for table, names in dropped.items():
        for name in names:
            op.drop_column(table, name)
