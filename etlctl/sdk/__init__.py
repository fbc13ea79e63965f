"""What a component author imports.

A component is one class in one file; the file name is its ``type``::

    from etlctl.sdk import Batch, Extractor, ReadContext

    class Constant(Extractor):
        \"\"\"Yields the same record a number of times.\"\"\"

        value: int
        \"\"\"The value of the field ``value``.\"\"\"

        async def read(self, ctx: ReadContext):
            yield Batch.of_rows([{"value": self.value}], position={"done": True})
"""

from etlctl.batch import Batch, Encoded, Position, Record, Rejection
from etlctl.errors import FatalError, MissingExtraError, RecordRejected, RetryableError, SourceUnavailable
from etlctl.sdk.component import Component, Example
from etlctl.sdk.context import ConclusionContext, Context, ReadContext, StepContext, WriteContext
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.fields import FieldProblem, FieldSet
from etlctl.sdk.loader import CommitToken, Delivery, Encoder, Loader, Published, Receipt, Writer
from etlctl.sdk.operation import Operation, Scope
from etlctl.sdk.rows import RowSlice
from etlctl.sdk.screening import Screening, Verdict

__all__ = [
    "Batch",
    "CommitToken",
    "Component",
    "ConclusionContext",
    "Context",
    "Delivery",
    "Encoded",
    "Encoder",
    "Example",
    "Extractor",
    "FatalError",
    "FieldProblem",
    "FieldSet",
    "Loader",
    "MissingExtraError",
    "Operation",
    "Position",
    "Published",
    "ReadContext",
    "Receipt",
    "Record",
    "RecordRejected",
    "Rejection",
    "RetryableError",
    "RowSlice",
    "Scope",
    "Screening",
    "SourceUnavailable",
    "StepContext",
    "Verdict",
    "WriteContext",
    "Writer",
]
