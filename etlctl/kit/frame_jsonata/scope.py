"""What a part of an expression can see: the record, or an item of a list in it, variables, and the run's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime

import polars as pl

from etlctl.frozen import frozen
from etlctl.kit.frame_jsonata.values import FLOAT, Unsupported, Value, column, fields_of


@frozen
class Scope:
    """What can be seen from one place of an expression.

    Attributes:
        schema: Columns of the record.
        now: When the run began.
        item: The context inside a list; None where the record is the context.
        names: Variables with the depth they were bound at.
        depth: How many lists the place is inside of.
    """

    schema: Mapping[str, pl.DataType]
    now: datetime
    item: Value | None = None
    names: Mapping[str, tuple[int, Value]] = field(default_factory=dict)
    depth: int = 0

    def binding(self, name: str, value: Value) -> Scope:
        """Return the scope with one more variable."""
        return replace(self, names={**self.names, name: (self.depth, value)})

    def inside(self, inner: Value, *, name: str | None = None, context: bool) -> Scope:
        """Return the scope of an item of a list.

        Args:
            inner: The item.
            name: Variable that holds it.
            context: It is what field names and ``$`` refer to.
        """
        deeper = replace(self, depth=self.depth + 1, item=inner if context else self.item)
        if not context:
            deeper = replace(deeper, item=_OUT_OF_REACH)
        return deeper if name is None else deeper.binding(name, inner)

    def variable(self, name: str) -> Value:
        """Return the value of a variable; the context for the empty name.

        Raises:
            Unsupported: It is not known, or it is a value of the record inside a list.
        """
        if name == "" and self.item is not None:
            return _reachable(self.item)
        if name not in self.names:
            raise Unsupported(f"${name}")
        depth, value = self.names[name]
        if depth != self.depth and not value.constant:
            raise Unsupported(f"${name} inside a list it does not come from")
        return value

    def field(self, name: str) -> Value:
        """Return a field of the context.

        Raises:
            Unsupported: There is none of the name, or JSON has no such type.
        """
        if self.item is not None:
            return field_of(_reachable(self.item), name)
        if name not in self.schema:
            raise Unsupported(f"there is no field {name!r}")
        return column(pl.col(name), self.schema[name])


_OUT_OF_REACH = Value(pl.lit(None), pl.Null(), constant=True)


def _reachable(item: Value) -> Value:
    if item is _OUT_OF_REACH:
        raise Unsupported("a field of the record inside a function of an item")
    return item


def field_of(value: Value, name: str) -> Value:
    """Return a field of an object: nothing where the object is null.

    Raises:
        Unsupported: It is no object, or has no such field.
    """
    fields = fields_of(value.dtype)
    if name not in fields:
        raise Unsupported(f"there is no field {name!r} in {value.dtype}")
    found = column(value.expr.struct.field(name), fields[name])
    missing = value.missing
    if value.nullable:
        missing = value.expr.is_null() if missing is None else missing | value.expr.is_null()
    computed = None if value.computed is not False and found.dtype == FLOAT else False
    return replace(found, doubts=(*value.doubts, *found.doubts), missing=missing, computed=computed)
