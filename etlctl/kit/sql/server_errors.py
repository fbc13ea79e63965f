"""What databases say when something goes wrong, told for people: where, in whose words, and whether waiting helps."""

from __future__ import annotations

import re
from typing import Any

from etlctl.errors import ComponentError, FatalError, RetryableError
from etlctl.kit.sql.urls import SQLITE, Address

# PostgreSQL: connection lost, serialization, deadlock, out of resources, lock not had, shutting down or starting up.
_PASSING_STATES = re.compile(r"08...|40001|40P01|53...|55P03|57P0[1235]")
# MySQL: too many connections, shutdown, lock wait, deadlock, gone away, lost, killed.
_PASSING_CODES = {1040, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1927, 2003, 2006, 2013, 2055}
_TIMEOUT_STATES, _TIMEOUT_CODES = {"57014"}, {1317, 1969, 3024}
_UNKNOWN_HOST = ("name or service not known", "nodename nor servname", "no address associated", "could not translate")
_NOT_LET_IN = ("28", "3D000", "42501")
_NOT_LET_IN_CODES = {1044, 1045, 1049, 1130, 1698, 2005, 2059}
_PASSING_WORDS = (
    "starting up", "shutting down", "too many clients", "too many connections", "connection slots", "in recovery",
    "recovery mode", "terminating connection", "not yet accepting",
)  # fmt: skip
_LOST_WORDS = (
    "server closed the connection", "connection is lost", "consuming input failed", "connection is closed",
    "terminating connection", "lost connection", "gone away", "connection was closed", "ssl connection has been closed",
    "connection already closed", "broken pipe", "connection reset", "could not receive data", "not connected",
)  # fmt: skip
_BUSY_WORDS = ("database is locked", "database table is locked", "busy")


def server_words(error: BaseException, address: Address) -> str:
    """Return what the database (or its driver) said: one line, without the statement, its values and passwords."""
    found = _original(error)
    diagnostics = getattr(found, "diag", None)
    primary = getattr(diagnostics, "message_primary", None)
    if primary:
        parts = [primary, getattr(diagnostics, "message_detail", None), getattr(diagnostics, "message_hint", None)]
        text = "; ".join(str(part) for part in parts if part)
    elif len(found.args) > 1 and isinstance(found.args[0], int):
        text = f"{found.args[1]} ({found.args[0]})"
    else:
        text = str(found) or type(found).__name__
    return address.hide(" ".join(text.split()).removeprefix("connection failed: "))


def connect_error(error: BaseException, address: Address, *, final: type[FatalError] = FatalError) -> ComponentError:
    """Return the error to raise when a connection could not be made.

    Args:
        error: What the driver raised.
        address: The database.
        final: Class of what no waiting helps against; ``SourceUnavailable`` for extractors.
    """
    words = server_words(error, address)
    lower, state, code = words.lower(), _state(error), _code(error)
    if any(word in lower for word in _UNKNOWN_HOST) or code == 2005:
        return final(
            f"{address}: there is no host {address.host!r}: {words}", help="correct the host in the URL; is it a typo?"
        )
    refused = "FATAL:" in str(_original(error)) or (state or "").startswith(_NOT_LET_IN) or code in _NOT_LET_IN_CODES
    if refused and not any(word in lower for word in _PASSING_WORDS):
        return final(f"{address} does not let us in: {words}", help=_access_help(lower))
    found = RetryableError(
        f"{address} does not answer: {words}",
        help="check that the server runs and can be reached from here, and the host and port in the URL",
    )
    found.exit_code = final.exit_code
    return found


def statement_error(
    error: BaseException, address: Address, doing: str, *, final: type[FatalError] = FatalError
) -> ComponentError:
    """Return the error to raise when a statement failed, or the connection was lost in the middle of it.

    Args:
        error: What the driver raised.
        address: The database.
        doing: What it was about, continuing the address: ``reading table orders``.
        final: Class of what no waiting helps against.
    """
    words = server_words(error, address)
    if is_passing(error, address):
        return RetryableError(
            f"{address}: {doing} was interrupted: {words}", help="if this comes back, look into the server's log"
        )
    return final(f"{address}: {doing} failed: {words}", help=_statement_help(error, words.lower()))


def is_passing(error: BaseException, address: Address) -> bool:
    """Tell whether trying the same again may work: a lost connection, a deadlock, a lock, a server that restarts."""
    found, state, code = _original(error), _state(error), _code(error)
    if code is not None:  # before the state: PyMySQL's errors have one, which says less
        return code in _PASSING_CODES or (code == 0 and address.kind != SQLITE)
    if state is not None:
        return _PASSING_STATES.fullmatch(state) is not None
    if isinstance(found, ConnectionError | TimeoutError) or getattr(error, "connection_invalidated", False):
        return True
    lower = str(found).lower()
    if address.kind == SQLITE:
        return any(word in lower for word in _BUSY_WORDS)
    return any(word in lower for word in _LOST_WORDS)


def _original(error: BaseException) -> BaseException:
    """Return the driver's own error inside SQLAlchemy's."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error


def _state(error: BaseException) -> str | None:
    state: Any = getattr(_original(error), "sqlstate", None)
    return state if isinstance(state, str) and state else None


def _code(error: BaseException) -> int | None:
    """Return MySQL's number of an error."""
    args = _original(error).args
    return args[0] if len(args) > 1 and isinstance(args[0], int) and not isinstance(args[0], bool) else None


def _access_help(words: str) -> str:
    if "database" in words and ("exist" in words or "unknown" in words):
        return "correct the name of the database in the URL, or make it"
    if "pg_hba" in words or "not allowed to connect" in words:
        return "let this host in at the server (pg_hba.conf, grants), or connect with TLS: ?sslmode=require"
    return "check user and password in the URL; characters such as @ : / # ? in a password are written %40 and so on"


def _statement_help(error: BaseException, words: str) -> str | None:
    state, code = _state(error), _code(error)
    if state in _TIMEOUT_STATES or code in _TIMEOUT_CODES:
        return "the statement took longer than allowed: raise statement_timeout, or read less at once"
    if "read-only" in words or "readonly" in words or state == "25006" or code == 1792:
        return "an extractor only reads: nothing may be changed in its session"
    if state == "42501" or code in {1142, 1143}:
        return "the user of the URL lacks the right: grant it at the server"
    if state in {"42P01", "3F000"} or code == 1146 or "no such table" in words:
        return "correct the name of the table (and schema); names are taken exactly, upper and lower case too"
    if state == "42703" or code == 1054 or "no such column" in words:
        return "correct the name of the column"
    return None
