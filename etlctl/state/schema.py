"""Tables of the state store, for SQLite and PostgreSQL alike.

Table names carry a prefix, because a PostgreSQL state store may share its schema with other tables. There are no
foreign keys on purpose: evidence (a dead letter, a step) must never be refused because something else is missing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from etlctl.state.column_values import instant, utc
from etlctl.state.outbox_statements import OUTBOXES, REQUESTS
from etlctl.state.statements import CHECKPOINTS, CURSOR_HISTORY, CURSORS, DEAD_LETTERS, DRIFT, LEASES, RUNS, STEPS


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware on the Python side, UTC in the store. SQLite keeps it as ISO text without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware datetime into UTC."""
        if value is None:
            return None
        return utc(value).replace(tzinfo=None) if dialect.name == "sqlite" else utc(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return an aware datetime in UTC."""
        return instant(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


runs = Table(
    RUNS,
    metadata,
    Column("id", Text, primary_key=True),
    Column("contract", Text, nullable=False),
    Column("contract_path", Text, nullable=False),
    Column("contract_version", Text),
    Column("contract_hash", JSON, nullable=False),
    Column("stream", Text, nullable=False),
    # One key names one run; runs without a key never collide.
    Column("run_key", Text),
    Column("trigger", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("batch_size", BigInteger),
    _count("extracted"),
    _count("added"),
    _count("filtered"),
    _count("rejected"),
    _count("deduplicated"),
    _count("loaded"),
    _count("batches"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("error", Text),
    Column("error_type", Text),
    Column("exit_code", Integer),
    Column("dry_run", Boolean, nullable=False),
    Column("destinations", JSON, nullable=False),
    Column("report", Text),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("etlctl_version", Text, nullable=False),
    Column("checkpoint_id", Text),
    Column("attempt", Integer, nullable=False, server_default="1"),
    # The whole result as JSON text: what a finished run key gives back.
    Column("result", Text),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Index(None, "contract", "started_at"),
    Index(None, "started_at"),
    Index(None, "contract", "run_key", unique=True),
    Index(None, "stream", "started_at"),
)
"""One row per run; a resumed run keeps its row and counts its attempts."""

steps = Table(
    STEPS,
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    _count("records_in"),
    _count("records_out"),
    _count("added"),
    _count("filtered"),
    _count("rejected"),
    Column("seconds", Float, nullable=False),
    Column("form", Text, nullable=False),
    Column("status", Text),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("error", Text),
    Column("batch", BigInteger),
)
"""One row per try of a step of a run: those that failed and were repeated, and the last one of each attempt."""

dead_letters = Table(
    DEAD_LETTERS,
    metadata,
    Column("id", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("contract", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("index", BigInteger, nullable=False),
    Column("part", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("field", Text),
    Column("location", Text),
    Column("raw", Text, nullable=False),
    Column("raw_form", Text, nullable=False),
    Column("redacted", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("by_run", Text),
    UniqueConstraint("run_id", "seq", "index", "part"),
    Index(None, "contract", "status"),
)
"""One row per rejected record, keyed by (run_id, seq, index, part).

The protocol asks for a key by which a repeat of a batch overwrites. The stream cannot be part of it in place of the
run: every full refresh of a stream counts its batches from 1 again, and a later run must not overwrite the rejections
of an earlier one. A resumed run keeps its id, so a batch it repeats meets its own rows. ``part`` tells several
rejections of one source record apart (unnest makes many records out of one).
"""

leases = Table(
    LEASES,
    metadata,
    Column("stream", Text, primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("holder_run", Text),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("acquired_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
"""One row per stream that ever ran: it stays when the lease is given back, because its fence must never go down."""

checkpoints = Table(
    CHECKPOINTS,
    metadata,
    Column("id", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("contract", Text, nullable=False),
    Column("contract_path", Text, nullable=False),
    # JSON as text: the checksum is over the very characters.
    Column("contract_hash", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("params_redacted", Boolean, nullable=False),
    Column("mode", Text, nullable=False),
    Column("batch_size", BigInteger),
    Column("max_records", BigInteger),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("position", Text, nullable=False),
    Column("position_redacted", Boolean, nullable=False),
    Column("account", Text, nullable=False),
    Column("error", Text),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("version", Integer, nullable=False),
    Column("checksum", Text, nullable=False),
)
"""One row per run that is not done."""

cursors = Table(
    CURSORS,
    metadata,
    Column("stream", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("value_type", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("run_id", Text),
    Column("recent", Text),
)
"""One row per incremental field of a stream: how far it is, in the source's own text."""

cursor_history = Table(
    CURSOR_HISTORY,
    metadata,
    Column("stream", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("before", Text),
    Column("after", Text),
    Column("value_type", Text, nullable=False),
    Column("how", Text, nullable=False),
    Column("run_id", Text),
    Column("moved_at", UtcDateTime, nullable=False),
)
"""One row per move of a cursor: from what to what, when, by whom."""

drift = Table(
    DRIFT,
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("contract", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("found_at", UtcDateTime, nullable=False),
    Index(None, "contract", "found_at"),
)
"""One row per difference that a run found between its records and a destination."""

outboxes = Table(
    OUTBOXES,
    metadata,
    Column("stream", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("token", LargeBinary),
    # The batch that is kept and not done, and what the engine needs to account for it.
    Column("seq", BigInteger),
    Column("pledge", LargeBinary),
    Column("updated_at", UtcDateTime, nullable=False),
)
"""One row per stream that sends requests: its commit token."""

outbox_requests = Table(
    REQUESTS,
    metadata,
    Column("stream", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("lane", BigInteger, nullable=False),
    Column("records", Text, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("body", LargeBinary),
    Column("digest", Text, nullable=False),
    Column("outcome", Text),
)
"""One row per request of the batch in hand, with the very bytes to send."""
