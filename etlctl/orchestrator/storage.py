"""``Storage``: JSON documents in a folder, each written as a whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etlctl.errors import StateError
from etlctl.ids import is_safe_name, new_id
from etlctl.kit.atomic import publish


class Storage:
    """Keeps JSON documents by key, one file each: ``users`` is ``users.json``.

    Args:
        path: The folder.
        mkdir: Make it, and those above it, if it is not there.

    Raises:
        StateError: The folder is not there, or cannot be made.
    """

    def __init__(self, path: str | Path, *, mkdir: bool = False) -> None:
        self.path = Path(path)
        if mkdir:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StateError(f"the folder {self.path} cannot be made: {error.strerror or error}") from error
        if not self.path.is_dir():
            what = "is not a folder" if self.path.exists() else "does not exist"
            raise StateError(f"{self.path} {what}", help="make it first, or give mkdir=True")

    def write_json(self, key: str, data: Any) -> Path:
        """Keep a document; one with the same key is replaced, at once and as a whole.

        Args:
            key: Letters, digits, ``_``, ``.`` and ``-``, at most 128; it can never lead out of the folder.
            data: What ``json`` can write.

        Returns:
            The file.

        Raises:
            ValueError: The key is none.
            TypeError: The data holds something that JSON does not have; what was there before stays.
            StateError: The file cannot be written; what was there before stays.
        """
        file = self._file(key)
        text = json.dumps(data, ensure_ascii=False, indent=2)
        draft = self.path / f".{new_id(key[:64])}"  # a name of its own: two may write the same key at once
        try:
            draft.write_bytes((text + "\n").encode("utf-8", "surrogatepass"))
            publish(draft, file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StateError(f"{file} cannot be written: {error.strerror or error}") from error
        return file

    def read_json(self, key: str) -> Any:
        """Return a document.

        Raises:
            ValueError: The key is none.
            KeyError: There is none with this key.
            StateError: Its file cannot be read, or is not JSON.
        """
        file = self._file(key)
        try:
            return json.loads(file.read_bytes().decode("utf-8", "surrogatepass"))
        except FileNotFoundError:
            raise KeyError(f"there is no document {key!r} in {self.path}") from None
        except OSError as error:
            raise StateError(f"{file} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise StateError(f"{file} is not JSON: {error}", help="it was changed by something else") from error

    def _file(self, key: str) -> Path:
        if not isinstance(key, str) or not is_safe_name(key):
            raise ValueError(
                f"{key!r} cannot be a key: use letters, digits, '_', '.' and '-', beginning with a letter or a digit, "
                "at most 128 in all"
            )
        return self.path / f"{key}.json"
