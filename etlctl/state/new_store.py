"""The tables of a new SQLite store, as text: making them takes neither SQLAlchemy nor Alembic.

Tests hold it against the tables of ``etlctl.state.schema`` and against the migrations.
"""

from __future__ import annotations

NEW_STORE = (
    """
    CREATE TABLE IF NOT EXISTS etlctl_runs (
        id TEXT NOT NULL,
        contract TEXT NOT NULL,
        contract_path TEXT NOT NULL,
        contract_version TEXT,
        contract_hash JSON NOT NULL,
        stream TEXT NOT NULL,
        run_key TEXT,
        "trigger" TEXT NOT NULL,
        params JSON NOT NULL,
        status TEXT NOT NULL,
        mode TEXT NOT NULL,
        batch_size BIGINT,
        extracted BIGINT DEFAULT '0' NOT NULL,
        added BIGINT DEFAULT '0' NOT NULL,
        filtered BIGINT DEFAULT '0' NOT NULL,
        rejected BIGINT DEFAULT '0' NOT NULL,
        deduplicated BIGINT DEFAULT '0' NOT NULL,
        loaded BIGINT DEFAULT '0' NOT NULL,
        batches BIGINT DEFAULT '0' NOT NULL,
        started_at DATETIME NOT NULL,
        updated_at DATETIME NOT NULL,
        ended_at DATETIME,
        error TEXT,
        error_type TEXT,
        exit_code INTEGER,
        dry_run BOOLEAN NOT NULL,
        destinations JSON NOT NULL,
        report TEXT,
        host TEXT NOT NULL,
        pid BIGINT NOT NULL,
        etlctl_version TEXT NOT NULL,
        checkpoint_id TEXT,
        attempt INTEGER DEFAULT '1' NOT NULL,
        result TEXT,
        fence BIGINT DEFAULT '0' NOT NULL,
        CONSTRAINT pk_etlctl_runs PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_etlctl_runs_started_at ON etlctl_runs (started_at)",
    "CREATE INDEX IF NOT EXISTS ix_etlctl_runs_contract_started_at ON etlctl_runs (contract, started_at)",
    "CREATE UNIQUE INDEX IF NOT EXISTS ix_etlctl_runs_contract_run_key ON etlctl_runs (contract, run_key)",
    "CREATE INDEX IF NOT EXISTS ix_etlctl_runs_stream_started_at ON etlctl_runs (stream, started_at)",
    """
    CREATE TABLE IF NOT EXISTS etlctl_steps (
        run_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        records_in BIGINT DEFAULT '0' NOT NULL,
        records_out BIGINT DEFAULT '0' NOT NULL,
        added BIGINT DEFAULT '0' NOT NULL,
        filtered BIGINT DEFAULT '0' NOT NULL,
        rejected BIGINT DEFAULT '0' NOT NULL,
        seconds FLOAT NOT NULL,
        form TEXT NOT NULL,
        status TEXT,
        started_at DATETIME,
        ended_at DATETIME,
        error TEXT,
        batch BIGINT,
        CONSTRAINT pk_etlctl_steps PRIMARY KEY (run_id, position, attempt)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS etlctl_dead_letters (
        id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        contract TEXT NOT NULL,
        stream TEXT NOT NULL,
        seq BIGINT NOT NULL,
        "index" BIGINT NOT NULL,
        part INTEGER NOT NULL,
        stage TEXT NOT NULL,
        step TEXT NOT NULL,
        rule TEXT NOT NULL,
        message TEXT NOT NULL,
        field TEXT,
        location TEXT,
        raw TEXT NOT NULL,
        raw_form TEXT NOT NULL,
        redacted BOOLEAN NOT NULL,
        status TEXT NOT NULL,
        created_at DATETIME NOT NULL,
        updated_at DATETIME NOT NULL,
        by_run TEXT,
        CONSTRAINT pk_etlctl_dead_letters PRIMARY KEY (id),
        CONSTRAINT uq_etlctl_dead_letters_run_id_seq_index_part UNIQUE (run_id, seq, "index", part)
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_etlctl_dead_letters_contract_status ON etlctl_dead_letters (contract, status)",
    """
    CREATE TABLE IF NOT EXISTS etlctl_leases (
        stream TEXT NOT NULL,
        fence BIGINT NOT NULL,
        holder_run TEXT,
        host TEXT NOT NULL,
        pid BIGINT NOT NULL,
        acquired_at DATETIME NOT NULL,
        expires_at DATETIME NOT NULL,
        CONSTRAINT pk_etlctl_leases PRIMARY KEY (stream)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS etlctl_checkpoints (
        id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        stream TEXT NOT NULL,
        contract TEXT NOT NULL,
        contract_path TEXT NOT NULL,
        contract_hash TEXT NOT NULL,
        params TEXT NOT NULL,
        params_redacted BOOLEAN NOT NULL,
        mode TEXT NOT NULL,
        batch_size BIGINT,
        max_records BIGINT,
        started_at DATETIME NOT NULL,
        seq BIGINT NOT NULL,
        fence BIGINT NOT NULL,
        position TEXT NOT NULL,
        position_redacted BOOLEAN NOT NULL,
        account TEXT NOT NULL,
        error TEXT,
        updated_at DATETIME NOT NULL,
        version INTEGER NOT NULL,
        checksum TEXT NOT NULL,
        CONSTRAINT pk_etlctl_checkpoints PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS etlctl_cursors (
        stream TEXT NOT NULL,
        field TEXT NOT NULL,
        value TEXT NOT NULL,
        value_type TEXT NOT NULL,
        updated_at DATETIME NOT NULL,
        run_id TEXT,
        recent TEXT,
        CONSTRAINT pk_etlctl_cursors PRIMARY KEY (stream, field)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS etlctl_cursor_history (
        stream TEXT NOT NULL,
        field TEXT NOT NULL,
        id TEXT NOT NULL,
        "before" TEXT,
        "after" TEXT,
        value_type TEXT NOT NULL,
        how TEXT NOT NULL,
        run_id TEXT,
        moved_at DATETIME NOT NULL,
        CONSTRAINT pk_etlctl_cursor_history PRIMARY KEY (stream, field, id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS etlctl_drift (
        run_id TEXT NOT NULL,
        destination TEXT NOT NULL,
        field TEXT NOT NULL,
        kind TEXT NOT NULL,
        contract TEXT NOT NULL,
        stream TEXT NOT NULL,
        action TEXT NOT NULL,
        detail TEXT NOT NULL,
        found_at DATETIME NOT NULL,
        CONSTRAINT pk_etlctl_drift PRIMARY KEY (run_id, destination, field, kind)
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_etlctl_drift_contract_found_at ON etlctl_drift (contract, found_at)",
    """
    CREATE TABLE IF NOT EXISTS etlctl_outboxes (
        stream TEXT NOT NULL,
        run_id TEXT NOT NULL,
        fence BIGINT NOT NULL,
        token BLOB,
        seq BIGINT,
        pledge BLOB,
        updated_at DATETIME NOT NULL,
        CONSTRAINT pk_etlctl_outboxes PRIMARY KEY (stream)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS etlctl_outbox_requests (
        stream TEXT NOT NULL,
        seq BIGINT NOT NULL,
        number BIGINT NOT NULL,
        lane BIGINT NOT NULL,
        records TEXT NOT NULL,
        head BLOB NOT NULL,
        body BLOB,
        digest TEXT NOT NULL,
        outcome TEXT,
        CONSTRAINT pk_etlctl_outbox_requests PRIMARY KEY (stream, seq, number)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS etlctl_version (
        version_num VARCHAR(32) NOT NULL,
        CONSTRAINT etlctl_version_pkc PRIMARY KEY (version_num)
    )
    """,
)
"""The statements, in order. What is there already stays."""
