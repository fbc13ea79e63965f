"""The plain statements of the outbox, for SQLite and PostgreSQL alike."""

from __future__ import annotations

OUTBOXES = "etlctl_outboxes"
REQUESTS = "etlctl_outbox_requests"

OUTBOX_COLUMNS = ("stream", "run_id", "fence", "token", "seq", "pledge", "updated_at")
REQUEST_COLUMNS = ("stream", "seq", "number", "lane", "records", "head", "body", "digest", "outcome")

OUTBOX = f"SELECT * FROM {OUTBOXES} WHERE stream = :stream"  # noqa: S608
CLAIM_OUTBOX = f"UPDATE {OUTBOXES} SET fence = :fence WHERE stream = :stream AND fence <= :fence"  # noqa: S608
"""Also locks the row on PostgreSQL, for the rest of the transaction."""
SAVE_OUTBOX = (
    f"INSERT INTO {OUTBOXES} ({', '.join(OUTBOX_COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join(f':{name}' for name in OUTBOX_COLUMNS)}) ON CONFLICT (stream) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in OUTBOX_COLUMNS if name != "stream")
    + f" WHERE {OUTBOXES}.fence <= excluded.fence"
)
DELETE_OUTBOX = f"DELETE FROM {OUTBOXES} WHERE stream = :stream AND fence <= :fence"  # noqa: S608
TOKENS = f"SELECT * FROM {OUTBOXES} WHERE stream = :stream OR substr(stream, 1, :length) = :prefix ORDER BY stream"  # noqa: S608

ADD_REQUEST = (
    f"INSERT INTO {REQUESTS} ({', '.join(REQUEST_COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join(f':{name}' for name in REQUEST_COLUMNS)})"
)
_OF_BATCH = f"FROM {REQUESTS} WHERE stream = :stream AND seq = :seq"
PENDING = f"SELECT * {_OF_BATCH} AND outcome IS NULL ORDER BY number"
SETTLED = f"SELECT number, records, outcome {_OF_BATCH} AND outcome IS NOT NULL ORDER BY number"
LAST_NUMBER = f"SELECT MAX(number) AS number {_OF_BATCH}"
SETTLE = f"UPDATE {REQUESTS} SET outcome = :outcome WHERE stream = :stream AND seq = :seq AND number = :number"  # noqa: S608
DELETE_REQUESTS = f"DELETE FROM {REQUESTS} WHERE stream = :stream"  # noqa: S608
