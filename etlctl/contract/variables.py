"""Fills in ``${…}`` in the values of extract and load files: parameters, environment, secrets, the run date."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etlctl.contract.codes import Code
from etlctl.contract.credentials import is_credential_name, secret_forms, url_password
from etlctl.contract.record_templates import rest_of
from etlctl.contract.sections import InputParam
from etlctl.contract.suggest import did_you_mean
from etlctl.expression import Reference, Template, TemplateError, parse_template

PathKey = tuple[str | int, ...]
Report = Callable[[Code, PathKey, tuple[int, int], str, str | None], None]
_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FORMS = "forms: ${NAME}, ${env:NAME}, ${param:NAME}, ${secret:NAME}, ${run_date}, each with :-default or :?message"
_SYSTEM_SECRETS = Path("/run/secrets")


@dataclass
class Values:
    """Where variables get their values.

    Attributes:
        declared: Parameters the contract declares.
        given: Values of parameters, converted; defaults included.
        environ: Environment variables.
        workspace: Folder whose ``.etlctl/secrets`` holds secrets.
        run_date: Today, as YYYY-MM-DD in UTC.
        cursor: Where an incremental run begins to read, when there is such a place.
        cursor_end: Where it ends.
        incremental: The contract is incremental.
        offline: Nothing runs (``validate``): parameters and the cursor may be without a value.
    """

    declared: Mapping[str, InputParam]
    given: Mapping[str, Any]
    environ: Mapping[str, str]
    workspace: Path
    run_date: str
    cursor: str | None = None
    cursor_end: str | None = None
    incremental: bool = False
    offline: bool = False
    referenced: set[str] = field(default_factory=set)

    def read_secret(self, name: str) -> str | None:
        """Return a secret: from ETLCTL_SECRET_NAME, the workspace's secrets folder, or the system's."""
        value = self.environ.get(f"ETLCTL_SECRET_{name}")
        if value:
            return value
        if not _SECRET_NAME.fullmatch(name):
            return None
        for folder in (self.workspace / ".etlctl" / "secrets", _SYSTEM_SECRETS):
            try:
                text = (folder / name).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                continue
            if text:
                return text
        return None


@dataclass
class Resolved:
    """The outcome for one section.

    Attributes:
        data: The section with its references filled in.
        deferred: Paths whose value is not known yet; they are not type-checked.
        rereadable: Paths of unquoted values that are exactly one reference: text that may be read as a YAML scalar.
        secrets: Values to redact.
    """

    data: Any
    deferred: set[PathKey] = field(default_factory=set)
    rereadable: set[PathKey] = field(default_factory=set)
    secrets: list[str] = field(default_factory=list)


class Resolver:
    """Fills in one section.

    Args:
        values: Where values come from.
        report: Called with code, path, range of characters in the value, message and help.
        is_plain: Tells whether the value at a path is written without quotes.
        is_template: Tells whether a bare ``${name}`` at a path is a field of the record, and not for us.
    """

    def __init__(
        self,
        values: Values,
        report: Report,
        is_plain: Callable[[PathKey], bool],
        is_template: Callable[[PathKey], bool] = lambda _path: False,
    ) -> None:
        self._is_template = is_template
        self._values = values
        self._report = report
        self._is_plain = is_plain
        self._out = Resolved(None)

    def resolve(self, data: Any, path: PathKey = ()) -> Resolved:
        """Return the section, or the value at a path of it, with every reference filled in, or reported."""
        self._out.data = self._walk(data, path)
        return self._out

    def _walk(self, value: Any, path: PathKey) -> Any:
        if isinstance(value, str):
            return self._text(value, path) if "${" in value else value
        if isinstance(value, dict):
            return {key: self._walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._walk(item, (*path, number)) for number, item in enumerate(value)]
        return value

    def _text(self, text: str, path: PathKey) -> str:
        try:
            parts = parse_template(text).parts
        except TemplateError as error:
            close = text.find("}", error.offset)
            end = close + 1 if close >= 0 else len(text)
            self._report(Code.variable_syntax, path, (error.offset, end), error.message, _FORMS)
            self._out.deferred.add(path)
            return text
        if self._is_template(path):
            made = rest_of(text, Template(parts), lambda reference: self._value(reference, path))
        else:
            out = [part if isinstance(part, str) else self._value(part, path) for part in parts]
            made = None if None in out else "".join(part for part in out if part is not None)
        if made is None:
            self._out.deferred.add(path)
            return text
        if len(parts) == 1 and isinstance(parts[0], Reference) and self._is_plain(path) and made != text:
            self._out.rereadable.add(path)
        for secret in _passwords_between(parts, made):
            self._out.secrets += secret_forms(secret)
        return made

    def _value(self, reference: Reference, path: PathKey) -> str | None:
        value = self._look_up(reference, path)
        if value is not None:
            return value
        if reference.default is not None:
            return reference.default
        if not self._may_wait(reference):
            message, help_ = self._unset(reference)
            self._report(self._code(reference), path, (reference.start, reference.end), message, help_)
        return None

    def _look_up(self, reference: Reference, path: PathKey) -> str | None:
        scope, name, values = reference.scope, reference.name, self._values
        if scope in {None, "param"}:
            values.referenced.add(name)
            if name in values.given:
                return _as_text(values.given[name])
        if scope is None and name == "run_date":
            return values.run_date
        if _is_cursor(reference):
            return values.cursor if name == "cursor" else values.cursor_end
        if scope == "secret":
            secret = values.read_secret(name)
            self._out.secrets += secret_forms(secret) if secret else ()
            return secret
        if scope == "env" or (scope is None and name not in values.declared):
            return self._environment(name, path)
        return None

    def _environment(self, name: str, path: PathKey) -> str | None:
        """Return an environment variable; an empty one counts as unset."""
        value = self._values.environ.get(name) or None
        if value and (is_credential_path(path) or is_credential_name(name) or url_password(value)):
            self._out.secrets += secret_forms(value)
        return value

    def _may_wait(self, reference: Reference) -> bool:
        """Tell whether a missing value is none of ``validate``'s business: it comes with the run."""
        if not self._values.offline or reference.scope in {"env", "secret"}:
            return False
        declared = self._values.declared.get(reference.name)
        return (declared is not None and declared.required) or (
            _is_cursor(reference) and self._values.incremental and self._values.cursor is not None
        )

    def _code(self, reference: Reference) -> Code:
        if not _is_cursor(reference):
            return Code.unset_variable
        return Code.cursor_without_first if self._values.incremental else Code.cursor_not_incremental

    def _unset(self, reference: Reference) -> tuple[str, str | None]:
        """Return message and help for a reference without a value."""
        scope, name, values = reference.scope, reference.name, self._values
        written = f"{scope}:{name}" if scope else name
        default = f"${{{written}:-default}}"
        if reference.message:
            return f"${{{written}}} has no value: {reference.message}", None
        if scope == "secret":
            help_ = f"set ETLCTL_SECRET_{name}, or put it into .etlctl/secrets/{name}"
            return f"secret {name!r} is not set", help_
        if _is_cursor(reference):
            return _unset_cursor(name, default, incremental=values.incremental)
        near = did_you_mean(name, values.declared, kind="parameters") if name not in values.declared else None
        if scope == "param" or name in values.declared:
            return f"parameter {name!r} has no value", near or f"give -p {name}=…, or a default: {default}"
        if scope is None and near and near.startswith("did you mean"):
            return f"{name!r} is neither a parameter nor an environment variable", near
        what = "is empty" if name in values.environ else "is not set"
        return f"environment variable {name!r} {what}", f"set it, or write a default: {default}"


def _is_cursor(reference: Reference) -> bool:
    return reference.scope is None and reference.name in {"cursor", "cursor_end"}


def _unset_cursor(name: str, default: str, *, incremental: bool) -> tuple[str, str]:
    """Return message and help for a cursor without a value."""
    if not incremental:
        help_ = "say which field tells what is new: incremental: {cursor_field: updated_at, initial: …}"
        return f"${{{name}}} has no value: the contract is not incremental", help_
    if name == "cursor_end":
        return "${cursor_end} has no value: incremental has no end", f"set end, or write a default: {default}"
    help_ = f"set initial in incremental, or write a default: {default}"
    return "${cursor} has no value for the first run: there is no cursor yet, and no initial value", help_


def _passwords_between(parts: Sequence[str | Reference], made: str) -> Iterator[str]:
    """Yield what stands for ``${env:PW}`` in ``postgresql://etl:${env:PW}@host/shop``, encoded or not."""
    for before, part, after in zip(parts, parts[1:], parts[2:], strict=False):
        if isinstance(before, str) and isinstance(part, Reference) and isinstance(after, str):
            found = re.search(r"://[^/]*:$", before) if after.startswith("@") else None
            start, end = made.find(before), made.find(after, made.find(before) + len(before))
            if found is not None and 0 <= start < end:
                yield made[start + len(before) : end]


def is_credential_path(path: PathKey) -> bool:
    """Tell whether an option holds a credential, by its name or that of a block around it."""
    return any(
        isinstance(part, str) and is_credential_name(part) and not _is_key_of_rows(path, place)
        for place, part in enumerate(path)
    )


def _is_key_of_rows(path: PathKey, place: int) -> bool:
    """Tell whether it is the ``key`` option of a component, such as ``database``, which names columns."""
    return path[place] == "key" and (place == 0 or isinstance(path[place - 1], int) or path[place - 1] == "with")


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def literal_secrets(data: Any, path: PathKey = ()) -> Iterator[tuple[PathKey, str, int, int]]:
    """Yield plain-text credentials of a raw section: path, the secret, and its place in the value."""
    if isinstance(data, dict):
        for key, value in data.items():
            if path or key != "input_params":
                yield from literal_secrets(value, (*path, key))
    elif isinstance(data, list):
        for number, item in enumerate(data):
            yield from literal_secrets(item, (*path, number))
    elif isinstance(data, str) and data:
        if is_credential_path(path) and "${" not in data:
            yield path, data, 0, len(data)
        elif (found := url_password(data)) and "${" not in found[0]:
            yield path, *found
