"""Operation of the golden tests: it must see a whole batch, and can tell unlike types."""

from etlctl.sdk import FieldProblem, FieldSet, Operation, RowSlice, Scope, StepContext


class Rank(Operation):
    """Numbers records by a field."""

    by: str
    """Field to rank by; it must be a number."""

    @property
    def scope(self) -> Scope:
        """The whole batch."""
        return Scope.batch

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Number the records."""
        for number, record in enumerate(rows.records):
            record["rank"] = number

    def effect(self, known: FieldSet) -> FieldSet:
        """A field ``rank`` is added; text cannot be ranked."""
        known = known.require(self.by, ("by",))
        if known.types.get(self.by) == "string":
            text = f"field {self.by!r} is text here and cannot be ranked as a number"
            known = known.problem(FieldProblem("unlike-types", text, ("by",), (), self.by))
        return known.with_types({"rank": "integer"})
