"""Two versions of a contract side by side: where things stand in each, and how a difference is reported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from etlctl.contract.checked import Checked
from etlctl.contract.codes import Code
from etlctl.contract.document import PathKey
from etlctl.contract.layout import Part, shown_path
from etlctl.diagnostics import Diagnostic, Span


@dataclass
class Comparing:
    """An older version of a contract and the one of now.

    A difference is reported where the new version has it; what the new one has no more, at the nearest thing that is
    left around it, so that a review shows it in the file that was edited. The old place is told along with it.
    """

    old: Checked
    new: Checked
    found: list[Diagnostic] = field(default_factory=list)

    def report(
        self,
        code: Code,
        section: str,
        path: PathKey,
        message: str,
        *,
        before: PathKey | None = None,
        help: str | None = None,  # noqa: A002
    ) -> None:
        """Report a difference.

        Args:
            code: Its code.
            section: The section it is in.
            path: What it is about, there.
            message: What changed.
            before: Where it was in the older version, when that is another path.
            help: What to do about it.
        """
        new, old = self.new.part(section), self.old.part(section)
        was = _span(old, path if before is None else before)
        file, span = (new.file, _nearest(new, path)) if new is not None else (self.new.layout.path, None)
        related: tuple[tuple[str, Span, str], ...] = ()
        if old is not None and was is not None:
            place = f"it was {old.file}:{was.line}:{was.column}"
            related = ((old.file, was, place),)
            if not old.document.path.exists() or old.file != shown_path(old.document.path):
                help = "; ".join(text for text in (help, place) if text)  # noqa: A001 - no excerpt will show it
        self.found.append(code.at(file, span, message, help=help, related=related))

    def mention(self, checked: Checked, name: str) -> tuple[str, PathKey]:
        """Return section and path of the place in the transform that names a field; the section when none does."""
        part = checked.part("transform")
        path = next(_mentions(part.data, name), ()) if part is not None else ()
        return "transform", path


def _span(part: Part | None, path: PathKey) -> Span | None:
    return part.key_span(path) if part is not None and part.nearest(path) == path else None


def _nearest(part: Part | None, path: PathKey) -> Span | None:
    if part is None:
        return None
    while path and part.nearest(path) != path:
        path = path[:-1]
    if path:
        return part.key_span(path)
    first = next(iter(part.data), None)
    return part.key_span((first,)) if first is not None else None


def _mentions(data: Any, name: str, path: PathKey = ()) -> Iterator[PathKey]:
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        if name in (key, value):
            yield (*path, key)
        yield from _mentions(value, name, (*path, key))
