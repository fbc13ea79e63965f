"""What is said when the state store does not work: what, where, and what to do next."""

from __future__ import annotations

from pathlib import Path

from etlctl.errors import StateError

URL_VARIABLE = "ETLCTL_STATE_URL"
BUSY_SECONDS = 30

_SQLITE_TROUBLE = (
    (
        ("unable to open",),
        "cannot be opened",
        "check that the file and its folder exist and are yours to read and write, or set {variable}",
    ),
    (
        ("readonly", "read-only"),
        "is read-only",
        "make the file and its folder writable for this user, or point {variable} somewhere else",
    ),
    (
        ("disk is full", "disk i/o"),
        "cannot be written: the disk is full or fails",
        "free some space on that disk and run the same command again",
    ),
    (
        ("locked", "busy"),
        "has been locked by another process for over {seconds} seconds",
        "see which process holds it; for many writers at once use PostgreSQL ({variable})",
    ),
    (
        ("malformed", "not a database", "encrypted"),
        "is damaged",
        (
            "put it back from a backup, or rescue it with: sqlite3 {name} .recover | sqlite3 rescued.db; "
            "moving it away starts an empty ledger: data at the destinations is not touched"
        ),
    ),
)


def explain(text: str, where: str, *, is_sqlite: bool) -> StateError:
    """Return the error to raise for what a database said.

    Args:
        text: The database's own words, secrets masked.
        where: The state store, as people know it.
        is_sqlite: Whether it is SQLite.
    """
    reason = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    if "lock timeout" in text.lower():
        return StateError(
            f"the state store {where} has been locked by another process for over {BUSY_SECONDS} seconds ({reason})",
            help="see who holds it: SELECT pid, state, query FROM pg_stat_activity; then run the same command again",
        )
    if not is_sqlite:
        return StateError(
            f"the state store {where} does not work: {reason}",
            help=f"check that the server runs and that {URL_VARIABLE} names host, database, user and password",
        )
    words = {"variable": URL_VARIABLE, "seconds": BUSY_SECONDS, "name": Path(where).name}
    for needles, what, todo in _SQLITE_TROUBLE:
        if any(needle in text.lower() for needle in needles):
            return StateError(f"the state store {where} {what.format(**words)} ({reason})", help=todo.format(**words))
    return StateError(f"the state store {where} does not work: {reason}", help="check it with: etlctl db check")
