"""Which fields a record has at some step, as far as it can be told without running anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from etlctl.frozen import frozen


@frozen
class FieldProblem:
    """Something an operation can tell is wrong about the fields it is given.

    Attributes:
        code: ``unknown-field``, ``dropped-field``, ``collision``, ``unlike-types``, ``unusable-file``.
        message: What is wrong, naming the field.
        path: Where in the operation's options, as keys and indexes.
        candidates: Names to suggest.
        field: The field concerned.
    """

    code: str
    message: str
    path: tuple[str | int, ...] = ()
    candidates: tuple[str, ...] = ()
    field: str | None = None


@frozen
class FieldSet:
    """Known fields and types at a step.

    Attributes:
        types: Field to type name (``string``, ``integer``, …; ``any`` when unknown).
        closed: There are no other fields. When False, records may have more than is known.
        gone: Fields that an earlier step dropped or renamed away, with that step's name.
        problems: What operations reported so far.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False
    gone: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[FieldProblem, ...] = ()

    def has(self, name: str) -> bool:
        """Tell whether a field may exist here."""
        return name in self.types or (not self.closed and name not in self.gone)

    def require(self, name: str, path: tuple[str | int, ...] = ()) -> FieldSet:
        """Report a problem when a field certainly does not exist here."""
        if self.has(name):
            return self
        if name in self.gone:
            text = f"field {name!r} does not exist here any more: {self.gone[name]} took it away"
            return self.problem(FieldProblem("dropped-field", text, path, tuple(self.types), name))
        text = f"field {name!r} does not exist here"
        return self.problem(FieldProblem("unknown-field", text, path, tuple(self.types), name))

    def problem(self, problem: FieldProblem) -> FieldSet:
        """Add a problem."""
        return replace(self, problems=(*self.problems, problem))

    def with_types(self, types: Mapping[str, str]) -> FieldSet:
        """Add fields, or change the types of known ones."""
        gone = {name: by for name, by in self.gone.items() if name not in types}
        return replace(self, types={**self.types, **types}, gone=gone)

    def without(self, names: Iterable[str], by: str) -> FieldSet:
        """Take fields away, remembering which step did."""
        names = set(names)
        types = {name: kind for name, kind in self.types.items() if name not in names}
        return replace(self, types=types, gone={**self.gone, **dict.fromkeys(names, by)})

    def only(self, types: Mapping[str, str], by: str) -> FieldSet:
        """Keep just these fields."""
        gone = {**self.gone, **{name: by for name in self.types if name not in types}}
        gone = {name: step for name, step in gone.items() if name not in types}
        return replace(self, types=dict(types), closed=True, gone=gone)

    def opaque(self) -> FieldSet:
        """Forget everything: after a step whose effect is unknown, any field may exist."""
        return FieldSet(problems=self.problems)
