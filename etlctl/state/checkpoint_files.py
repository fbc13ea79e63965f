"""Checkpoints as JSON files in a folder: each is there whole or not at all, and tells when somebody changed it.

A file is readable by tools that know the files of pycharter's orchestrator: their keys stand at the top.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etlctl.checkpoint import Checkpoint
from etlctl.clock import Clock, SystemClock
from etlctl.errors import CheckpointError, NotInLedgerError, StateError
from etlctl.ids import is_safe_name, new_id
from etlctl.kit.atomic import sync_folder
from etlctl.redact import Redactor
from etlctl.state import checkpoint_form
from etlctl.state.checkpoint_form import check_id, checksum, damaged
from etlctl.state.checkpoint_store import CheckpointEntry

_SUFFIX = ".json"
_DRAFT = "~"
"""Stands in the names of files that are being written; no id has it."""


class CheckpointFiles:
    """Checkpoints in a folder; ``CheckpointStore`` tells what each method promises.

    Two processes are kept apart by the fence, which is compared right before a file is replaced. A process that is
    stopped in between can put an older checkpoint back; the destination's commit token makes up for it.

    Args:
        folder: Is made when the first one is saved.
        redactor: Masks secrets in everything that is written.
        clock: Tells the time.
    """

    def __init__(self, folder: Path, redactor: Redactor | None = None, *, clock: Clock | None = None) -> None:
        self._folder = folder
        self._redactor = redactor or Redactor()
        self._clock = clock or SystemClock()

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in place of the one of its id; it is on disk when this returns."""
        values = checkpoint_form.written(checkpoint, self._redactor, self._clock.now())
        content = _content(values, checkpoint.records)
        path = self._path(checkpoint.id)
        draft = path.with_name(f".{checkpoint.id}{_DRAFT}{new_id('new')}")
        with _explained(path):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _write(draft, content)
                self._check_old(values, path)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(self._folder)

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Return the checkpoint of a file."""
        path = self._path(checkpoint_id)
        return checkpoint_form.restored(_read(path, checkpoint_id), checkpoint_id, str(path))

    def checkpoints(self, contract: str | None = None) -> list[CheckpointEntry]:
        """Return all checkpoints, or those of a contract, the one that moved last first."""
        found = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            checkpoint_id = path.name.removesuffix(_SUFFIX)
            if not is_safe_name(checkpoint_id):
                continue
            with suppress(NotInLedgerError):  # its run has ended meanwhile
                found.append(self._entry(checkpoint_id, path))
        found = [one for one in found if one.checkpoint is None or contract in {None, one.checkpoint.contract}]
        oldest = datetime.min.replace(tzinfo=UTC)
        return sorted(found, key=lambda one: (one.updated_at or oldest, one.id), reverse=True)

    def delete_checkpoint(self, checkpoint_id: str, *, fence: int | None = None) -> bool:
        """Delete the file of a checkpoint, and what killed processes left of it; tells whether it was there."""
        path = self._path(checkpoint_id)
        with _explained(path):
            if fence is not None and _fence(path, checkpoint_id) > fence:
                return False
            for draft in self._folder.glob(f".{checkpoint_id}{_DRAFT}*"):
                draft.unlink(missing_ok=True)
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            sync_folder(self._folder)
        return True

    def _path(self, checkpoint_id: str) -> Path:
        return self._folder / f"{check_id(checkpoint_id)}{_SUFFIX}"

    def _entry(self, checkpoint_id: str, path: Path) -> CheckpointEntry:
        try:
            found = self.checkpoint(checkpoint_id)
        except CheckpointError as problem:
            with suppress(OSError):
                moved = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                return CheckpointEntry(id=checkpoint_id, problem=problem, updated_at=moved)
            return CheckpointEntry(id=checkpoint_id, problem=problem)
        return CheckpointEntry(id=checkpoint_id, checkpoint=found, updated_at=found.updated_at)

    def _check_old(self, values: dict[str, Any], path: Path) -> None:
        try:
            old = _read(path, values["id"])
        except NotInLedgerError:
            return
        except CheckpointError:
            # One of a newer version stays. A damaged one says nothing any more and makes room.
            checkpoint_form.check_version(_version(path), values["id"], str(path))
            return
        checkpoint_form.check_successor(values, old, str(path))


def _content(values: dict[str, Any], records: int) -> bytes:
    moved = datetime.fromisoformat(values["updated_at"])
    document: dict[str, Any] = {
        "checkpoint_id": values["id"],
        "stage": "extract",
        "batch_num": values["seq"],
        "records_processed": records,
        "last_processed_params": values["params"],
        "error": values["error"],
        "metadata": {},
        "timestamp": moved.astimezone().replace(tzinfo=None).isoformat(),
        "version": values["version"],
        "checkpoint": values,
    }
    document["checksum"] = checksum(document)
    return (json.dumps(document, indent=1, default=str) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, checkpoint_id: str) -> dict[str, Any]:
    """Return the values of a file that is whole.

    Raises:
        NotInLedgerError: There is no file.
        CheckpointError: It is damaged, or of a newer version.
    """
    document = _document(path, checkpoint_id)
    if not isinstance(document, dict) or not isinstance(document.get("checkpoint"), dict):
        raise damaged(checkpoint_id, str(path), "is no checkpoint of etlctl")
    checkpoint_form.check_version(document.get("version"), checkpoint_id, str(path))
    if document.pop("checksum", None) != checksum(document):
        raise damaged(checkpoint_id, str(path), "was changed since it was written (wrong checksum)")
    found: dict[str, Any] = document["checkpoint"]
    return found


def _document(path: Path, checkpoint_id: str) -> Any:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise checkpoint_form.missing(checkpoint_id, str(path.parent)) from None
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {checkpoint_id} cannot be read: {path}: {error.strerror or error}",
            help="check that the file and its folder are yours to read",
        ) from error
    if not content.strip(b"\0 \r\n\t"):
        raise damaged(checkpoint_id, str(path), "is empty")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        begun, ended = content.lstrip()[:1] == b"{", content.rstrip()[-1:] == b"}"
        what = f"is cut off after {len(content):,} bytes" if begun and not ended else f"is not JSON ({error})"
        raise damaged(checkpoint_id, str(path), what) from error


def _version(path: Path) -> Any:
    with suppress(OSError, ValueError, AttributeError):
        return json.loads(path.read_bytes()).get("version")
    return None


def _fence(path: Path, checkpoint_id: str) -> int:
    try:
        return int(_read(path, checkpoint_id)["fence"])
    except (CheckpointError, NotInLedgerError, KeyError):
        return 0


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(
            f"the checkpoint {path} cannot be written: {error.strerror or error}",
            help=f"make {path.parent} a writable folder with space left, or choose another checkpoint folder; the "
            "destination keeps what was committed, and the run can be resumed",
        ) from error
