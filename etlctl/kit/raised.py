"""What a user's code raised, in one line: its type, its text, and the line of the user's file it came from."""

from __future__ import annotations

import builtins
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb

from etlctl.kit.interruptible import Interrupted
from etlctl.kit.user_code import workspace_of

_LONGEST = 500
_OURS = Path(__file__).resolve().parents[1]


def told(error: BaseException, path: str, base_dir: Path) -> str:
    """Say what a custom function raised.

    Args:
        error: What it raised.
        path: Dotted path of the function.
        base_dir: The contract's folder; files below it are named relative to it.
    """
    place = origin(error, base_dir)
    return f"custom function {path} raised {type(error).__name__}: {text_of(error)}" + (f" ({place})" if place else "")


def text_of(error: BaseException) -> str:
    """Return an error's text, cut when it is long; an error that cannot even say what it is says so."""
    try:
        text = str(error)
    except Interrupted:
        raise
    except BaseException as another:  # noqa: BLE001 - __str__ is the user's code as well
        text = f"<its text raised {type(another).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def origin(error: BaseException, base_dir: Path) -> str | None:
    """Return where an error was raised, such as ``my_transforms.py line 12``: the innermost line of the user's own.

    When no line is below the contract's folder or the workspace, the innermost one that is not etlctl's.
    """
    lines = [(frame.f_code.co_filename, number) for frame, number in walk_tb(error.__traceback__)]
    others = [(Path(name), number) for name, number in lines if not _is_ours(name)]
    if not others:
        return None
    homes = _homes(base_dir)
    own = [(file, number) for file, number in others if any(map(file.is_relative_to, homes)) and not _installed(file)]
    file, number = (own or others)[-1]
    home = homes[0]
    shown = file.relative_to(home).as_posix() if file.is_relative_to(home) else file.name
    return f"{shown} line {number}"


@lru_cache(maxsize=64)
def _homes(base_dir: Path) -> tuple[Path, ...]:
    """Return the folders of a user's own code: the contract's, and the workspace it is in."""
    workspace = workspace_of(base_dir)
    return (base_dir.resolve(),) if workspace is None else (base_dir.resolve(), workspace)


def _installed(file: Path) -> bool:
    return "site-packages" in file.parts


def _is_ours(name: str) -> bool:
    return name.startswith("<frozen") or Path(name).is_relative_to(_OURS)


def kinds_of(error: BaseException) -> tuple[str, ...]:
    """Return the name of an error's type and of those it is derived from, for ``revived``."""
    return tuple(kind.__name__ for kind in type(error).__mro__)


def revived(kinds: tuple[str, ...], text: str) -> Exception:
    """Return an error of another process: of the same name, and derived from the same built-in type.

    Args:
        kinds: What ``kinds_of`` said there.
        text: Its text.
    """
    known = (getattr(builtins, name, None) for name in kinds)
    base = next((kind for kind in known if isinstance(kind, type) and issubclass(kind, Exception)), Exception)
    try:
        return _kind(kinds[0], base)(text)
    except TypeError:  # UnicodeDecodeError and its like want more than a text
        return _kind(kinds[0], Exception)(text)


def _kind(name: str, base: type[Exception]) -> type[Exception]:
    return base if base.__name__ == name else type(name, (base,), {})
