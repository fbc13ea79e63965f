"""The ledger: runs, steps and dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _instant(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Create the three tables."""
    _create_runs()
    _create_steps()
    _create_dead_letters()


def _create_runs() -> None:
    op.create_table(
        "etlctl_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("contract_path", sa.Text(), nullable=False),
        sa.Column("contract_version", sa.Text()),
        sa.Column("contract_hash", sa.JSON(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("run_key", sa.Text()),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("batch_size", sa.BigInteger()),
        *(_count(name) for name in ("extracted", "added", "filtered", "rejected", "deduplicated", "loaded", "batches")),
        _instant("started_at", nullable=False),
        _instant("updated_at", nullable=False),
        _instant("ended_at"),
        sa.Column("error", sa.Text()),
        sa.Column("error_type", sa.Text()),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("destinations", sa.JSON(), nullable=False),
        sa.Column("report", sa.Text()),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("etlctl_version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_etlctl_runs"),
    )
    op.create_index("ix_etlctl_runs_contract_started_at", "etlctl_runs", ["contract", "started_at"])
    op.create_index("ix_etlctl_runs_started_at", "etlctl_runs", ["started_at"])


def _create_steps() -> None:
    op.create_table(
        "etlctl_steps",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        *(_count(name) for name in ("records_in", "records_out", "added", "filtered", "rejected")),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("status", sa.Text()),
        _instant("started_at"),
        _instant("ended_at"),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("run_id", "position", "attempt", name="pk_etlctl_steps"),
    )


def _create_dead_letters() -> None:
    op.create_table(
        "etlctl_dead_letters",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("field", sa.Text()),
        sa.Column("location", sa.Text()),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("raw_form", sa.Text(), nullable=False),
        sa.Column("redacted", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        _instant("created_at", nullable=False),
        _instant("updated_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_etlctl_dead_letters"),
        sa.UniqueConstraint("run_id", "seq", "index", "part", name="uq_etlctl_dead_letters_run_id_seq_index_part"),
    )
    op.create_index("ix_etlctl_dead_letters_contract_status", "etlctl_dead_letters", ["contract", "status"])


def downgrade() -> None:
    """Drop the three tables with everything in them."""
    for table in ("etlctl_dead_letters", "etlctl_steps", "etlctl_runs"):
        op.drop_table(table)
