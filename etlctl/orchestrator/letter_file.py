"""The dead letters of a run as a file of JSON lines beside the ledger: for people and programs that read files.

The file tells of the latest run of its stream: it is written whole when a run ends, and goes when nothing was rejected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.errors import EtlctlError, NotInLedgerError, StateError
from etlctl.kit.atomic import publish, sync_folder, write_failure
from etlctl.redact import Redactor
from etlctl.state.payload import mask, readable

if TYPE_CHECKING:
    from etlctl.run import DeadLetter
    from etlctl.state.ledger import Ledger

_FIRST_ID = re.compile(rb'\{"id": ?"dl_([^"_]+)_\d+_\d+(?:_\d+)?"')
_LOOKED_AT = 256
"""Bytes at the beginning of a file that tell whose dead letters it holds."""


def write_letter_file(path: Path, ledger: Ledger, run_id: str, stream: str, redactor: Redactor) -> int:
    """Write the dead letters of a run to a file, whole or not at all; blocks.

    Without any, a file that an earlier run of the stream left there is removed.

    Args:
        path: Where to; folders are made.
        ledger: Has the dead letters.
        run_id: The run.
        stream: Its contract and parameter set.
        redactor: Masks secrets.

    Returns:
        How many there are.

    Raises:
        StateError: It cannot be written, or something else is there.
    """
    letters = ledger.each_dead_letter(run_id)
    first = next(letters, None)
    try:
        if first is None:
            _remove_stale(path, ledger, stream)
            return 0
        _refuse_foreign(path)
        return _write(path, chain([first], letters), run_id, redactor)
    except OSError as error:
        failure = write_failure(error, path)
        raise StateError(
            f"the dead letters of {run_id}: {failure.message}",
            help=f"{failure.help + '; ' if failure.help else ''}{_in_the_ledger(run_id)}",
        ) from error
    except EtlctlError as error:
        error.help = f"{error.help}; {_in_the_ledger(run_id)}" if error.help else _in_the_ledger(run_id)
        raise


def _write(path: Path, letters: Iterator[DeadLetter], run_id: str, redactor: Redactor) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{run_id}.new")
    count = 0
    try:
        with draft.open("wb") as file:
            for letter in letters:
                file.write(_line(letter, redactor))
                count += 1
        publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return count


def _line(letter: DeadLetter, redactor: Redactor) -> bytes:
    # The id comes first: by it a file is known again.
    told: dict[str, Any] = {
        "id": letter.id,
        "rule": letter.rule,
        "message": redactor.text(letter.message),
        "field": letter.field,
        "location": redactor.text(letter.location) if letter.location else letter.location,
        "stage": letter.stage,
        "step": letter.step,
        "raw": None if letter.raw_of else readable(mask(letter.raw, redactor)),
    }
    if letter.raw_of:  # a large source record stands in the file once
        told["raw_of"] = letter.raw_of
    # A lone surrogate becomes its JSON escape.
    return (json.dumps(told, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _remove_stale(path: Path, ledger: Ledger, stream: str) -> None:
    owner = _owner(path)
    if owner is None:
        return
    try:
        record = ledger.run(owner)
    except NotInLedgerError:
        return
    if record.stream == stream:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def _refuse_foreign(path: Path) -> None:
    if path.exists() and _owner(path) is None:
        raise StateError(
            f"the dead letters are not written to {path}: it holds something else, which is left alone",
            help="give dead_letters.path in load.yaml a name of its own, or move that file away",
        )


def _owner(path: Path) -> str | None:
    """Return the run whose dead letters a file holds; None when it is not there or no such file."""
    try:
        with path.open("rb") as file:
            found = _FIRST_ID.match(file.read(_LOOKED_AT))
    except FileNotFoundError:
        return None
    return f"run_{found[1].decode('ascii', 'replace')}" if found else None


def _in_the_ledger(run_id: str) -> str:
    return f"all of them are in the ledger: etlctl dead-letters list --run {run_id}"
