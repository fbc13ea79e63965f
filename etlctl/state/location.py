"""Where the state store is: SQLite in the workspace by default, SQLite or PostgreSQL by URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from etlctl.errors import StateError
from etlctl.state.trouble import URL_VARIABLE

if TYPE_CHECKING:
    from sqlalchemy import URL

DATABASE_NAME = "state.db"
_FILE_URL = "sqlite:///"
_WANTED = f"give {URL_VARIABLE} as postgresql://user:password@host:5432/database or sqlite:///path/to/state.db"


class Location:
    """Where a state store is.

    Args:
        file: The SQLite file, if it is one.
        url: The URL that only SQLAlchemy can open; None for a plain file.
    """

    __slots__ = ("file", "url")

    def __init__(self, file: Path | None, url: URL | None = None) -> None:
        self.file = file
        self.url = url

    @property
    def is_sqlite(self) -> bool:
        """Tell whether it is SQLite, in a file or in memory."""
        return self.url is None or self.url.drivername == "sqlite"

    def __str__(self) -> str:
        if self.is_sqlite:
            return str(self.file or "memory")
        return self.url.render_as_string(hide_password=True) if self.url else ""


def state_url(url: str | None = None, state_dir: Path | None = None) -> Location:
    """Return where the state store is.

    Args:
        url: Database URL; by default ``ETLCTL_STATE_URL``, else SQLite at ``state_dir/state.db``.
        state_dir: Folder of the state, by default ``.etlctl`` in the current one.

    Raises:
        StateError: The URL cannot be read, or names a database that cannot hold the state.
    """
    text = url or os.environ.get(URL_VARIABLE)
    if not text:
        return Location((state_dir or Path(".etlctl")).absolute() / DATABASE_NAME)
    path = text.removeprefix(_FILE_URL)
    if path not in {text, "", ":memory:"} and not {"?", "%"} & set(path):
        return Location(Path(path))
    return _parsed(text)


def _parsed(text: str) -> Location:
    """Read a URL with SQLAlchemy, which knows its every spelling."""
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        raise StateError("the URL of the state store cannot be read", help=_WANTED) from None
    kind = parsed.drivername.partition("+")[0]
    if kind in {"postgres", "postgresql"}:
        return Location(None, parsed.set(drivername="postgresql+psycopg"))
    if kind != "sqlite":
        raise StateError(
            f"the state store cannot be kept in {kind!r}: only SQLite and PostgreSQL hold it", help=_WANTED
        )
    parsed = parsed.set(drivername="sqlite")
    if parsed.database in {None, "", ":memory:"}:
        return Location(None, parsed)
    return Location(Path(str(parsed.database)), parsed if parsed.query or parsed.host else None)


def database_file(location: Location) -> Path | None:
    """Return the file of a SQLite store, None for any other store."""
    return location.file
