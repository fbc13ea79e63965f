"""Where a database is: the URL in a contract, told without its password, and what drivers take.

What a database says when something goes wrong is told for people in ``server_errors``.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from pydantic import BaseModel, ConfigDict, Field

from etlctl.errors import FatalError, MissingExtraError
from etlctl.frozen import frozen

POSTGRESQL, MYSQL, SQLITE = "postgresql", "mysql", "sqlite"
WANTED = "write postgresql://user:password@host:5432/database, mysql://…, sqlite:///file.db or any SQLAlchemy URL"
_KINDS = {"postgres": POSTGRESQL, "postgresql": POSTGRESQL, "mysql": MYSQL, "mariadb": MYSQL, "sqlite": SQLITE}
_NAMES = {POSTGRESQL: "PostgreSQL", MYSQL: "MySQL", SQLITE: "SQLite"}
_DRIVERS = {POSTGRESQL: ("psycopg", "postgres"), MYSQL: ("pymysql", "mysql")}
_PORTS = {POSTGRESQL: "5432", MYSQL: "3306"}
_SECRET_PARAMETERS = {"password", "passwd", "sslpassword", "sslkey_password", "token"}
# As in SQLAlchemy: a password may hold what urllib would take for the end of the host.
_URL = re.compile(
    r"""
    (?P<scheme>[A-Za-z][\w.+-]*)://
    (?:(?P<user>[^:/@]*)(?::(?P<password>[^@]*|[^?]*))?@)?
    (?:\[(?P<ipv6>[^/?\]]+)\]|(?P<host>[^/:?@]+))?
    (?::(?P<port>[^/?@]*))?
    (?:/(?P<database>[^?]*))?
    (?:\?(?P<query>.*))?
    """,
    re.VERBOSE | re.DOTALL,
)


class DatabasePlace(BaseModel):
    """Where a database is: ``database: {url: …}``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    url: str = Field(min_length=1)
    """``postgresql://user:password@host:5432/database``, ``mysql://…``, ``sqlite:///file.db`` (relative to the contract's folder) or any SQLAlchemy URL."""  # noqa: E501


@frozen
class Address:
    """A database that can be connected to. Its text and its repr never show a password.

    Attributes:
        kind: ``postgresql``, ``mysql`` (MariaDB too), ``sqlite``, or another SQLAlchemy dialect's name.
        url: What SQLAlchemy's ``create_engine`` takes, the driver named; for PostgreSQL see also ``conninfo``.
        shown: The URL without its password and parameters, for messages.
        host: Host name or address; empty for a file and where none is given.
        port: Port, the default of its kind when none is given.
        database: Name of the database.
        user: User name.
        file: The file of a SQLite database, absolute; None for any other.
        secrets: What must not be shown: the password as it is and as it is written.
    """

    kind: str
    url: str = field(repr=False)
    shown: str
    host: str = ""
    port: str = ""
    database: str = ""
    user: str = ""
    file: Path | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.shown

    @property
    def name(self) -> str:
        """What people call the system: ``PostgreSQL``."""
        return _NAMES.get(self.kind, self.kind)

    @property
    def conninfo(self) -> str:
        """The URL as libpq (psycopg) takes it."""
        return "postgresql://" + self.url.partition("://")[2]

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it the same database as another one, whoever connects."""
        if self.file is not None:
            return self.kind, str(self.file.resolve())
        if self.kind in _NAMES:
            host = self.host.lower() or "localhost"
            return self.kind, "localhost" if host in {"127.0.0.1", "::1"} else host, self.port, self.database
        return self.kind, self.shown

    def hide(self, text: str) -> str:
        """Return a text with the URL's secrets masked, however short they are."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) > 3 or not secret.isalnum():
                text = text.replace(secret, "***")
            else:  # a short word would blank out ordinary text: only where it stands alone
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        return text

    def require_driver(self, feature: str | None = None) -> None:
        """Import the driver of PostgreSQL or MySQL.

        Raises:
            MissingExtraError: It is not installed; the message names the install command.
        """
        if self.kind in _DRIVERS:
            module, extra = _DRIVERS[self.kind]
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise MissingExtraError(feature or self.name, extra) from error


def place_of(connection_string: str | None, database: DatabasePlace | None, url: str | None = None) -> str:
    """Return the one URL that a component's options give, whichever way it is written.

    Raises:
        ValueError: None is given or several are, or it is no URL (a text with ``${…}`` is not looked into).
    """
    inner = database.url if database is not None else None
    given = {"connection_string": connection_string, "database": inner, "url": url}
    found = {name: value for name, value in given.items() if value is not None}
    if len(found) != 1:
        said = f"{' and '.join(found)} are given" if found else "none is given"
        raise ValueError(f"say once where the database is: connection_string, database: {{url: …}} or url; {said}")
    ((name, text),) = found.items()
    problem = url_problem(text)
    if problem is not None:
        raise ValueError(f"{name}: {problem}")
    return text


def url_problem(text: str) -> str | None:
    """Return what is wrong with a database URL, without quoting a password; None when nothing is."""
    if "${" in text:
        return None
    match = _URL.fullmatch(text.strip())
    if match is None:
        return f"this is no database URL; {WANTED}"
    kind = _kind(match)
    if kind == SQLITE:
        return _sqlite_problem(match)
    port = match["port"] or ""
    if kind in _NAMES and port and not all(part.rpartition(":")[2].isdigit() for part in port.split(",")):
        return f"the port {port!r} is no number"
    return None


def read_url(text: str, base_dir: Path) -> Address:
    """Read a database URL.

    Args:
        text: ``postgresql://…``, ``mysql://…`` or ``mariadb://…``, ``sqlite:///file.db``, or another SQLAlchemy URL.
        base_dir: Folder that relative paths of SQLite files start at.

    Raises:
        FatalError: It is no database URL.
    """
    problem = url_problem(text)
    match = _URL.fullmatch(text.strip())
    if problem is not None or match is None:
        raise FatalError(problem or f"this is no database URL; {WANTED}")
    kind = _kind(match)
    if kind == SQLITE:
        file = base_dir / Path(match["database"]).expanduser()
        return Address(kind, f"sqlite:///{file}", f"sqlite:///{match['database']}", file=file)
    user, host = unquote(match["user"] or ""), match["ipv6"] or unquote(match["host"] or "")
    port, database = match["port"] or _PORTS.get(kind, ""), unquote(match["database"] or "")
    parameters = parse_qsl(match["query"] or "", keep_blank_values=True)
    hidden = [match["password"], *(value for name, value in parameters if name.lower() in _SECRET_PARAMETERS)]
    secrets = {form for one in hidden if one for form in (one, unquote(one), quote(unquote(one), safe=""))}
    told = f"{user}@{host}" if user else host
    shown = f"{kind}://{told}{':' + match['port'] if match['port'] else ''}/{database}"
    url = text.strip() if kind not in _DRIVERS else _driver_url(kind, match, parameters)
    return Address(kind, url, shown, host, port, database, user, None, tuple(sorted(secrets)))


def _kind(match: re.Match[str]) -> str:
    dialect = match["scheme"].lower().partition("+")[0]
    return _KINDS.get(dialect, dialect)


def _driver_url(kind: str, match: re.Match[str], parameters: list[tuple[str, str]]) -> str:
    """Write the URL anew with every part quoted, so that drivers and SQLAlchemy read the same into it."""
    access = ""
    if match["user"] is not None:
        access = quote(unquote(match["user"]), safe="")
        if match["password"] is not None:
            access += ":" + quote(unquote(match["password"]), safe="")
        access += "@"
    host = f"[{match['ipv6']}]" if match["ipv6"] else match["host"] or ""
    port = f":{match['port']}" if match["port"] else ""
    database = quote(unquote(match["database"] or ""), safe="")
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    return f"{kind}+{_DRIVERS[kind][0]}://{access}{host}{port}/{database}{query}"


def _sqlite_problem(match: re.Match[str]) -> str | None:
    name = match["database"] or ""
    if match["host"] or match["user"] is not None:
        return "a SQLite file needs three slashes, sqlite:///people.db, and four when its path is absolute"
    if not name or name.startswith(":memory:"):
        return "this is a SQLite database in memory, gone when the run ends; give a file: sqlite:///people.db"
    if match["query"] is not None:
        return "parameters behind ? are not supported for SQLite; leave them out"
    return None
