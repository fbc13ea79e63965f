"""JSON lines: one compact JSON object a line, frames by Polars where its text is exact, records by orjson."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO

import orjson

from etlctl.batch import Batch, Encoded, Record, frame_to_rows
from etlctl.errors import FatalError
from etlctl.kit.codecs.json_text import encode_block
from etlctl.kit.codecs.writing import FormatWriter, FrameHold, Refusals, State, Target, as_rejections
from etlctl.kit.compression import decompress

if TYPE_CHECKING:
    import polars as pl

_SLICE = 1_000
_LONGEST_LAST_LINE = 64 << 20
_BLOCK = 1 << 20


def encode_payload(records: list[Record]) -> Encoded:
    """Encode records as JSON lines, for ``Writer.encoder``."""
    count, lines, refusals = encode_block(records)
    return Encoded(count, lines, as_rejections(refusals))


class JsonlWriter(FormatWriter):
    """Writes JSON lines.

    Args:
        target: Where to; ``existing`` is a file of JSON lines that these come after.
    """

    def __init__(self, target: Target) -> None:
        self._held = FrameHold(rows=0) if target.path is None else FrameHold()
        missing_end = target.existing is not None and target.state is None and _lacks_line_end(target)
        self._sink = target.sink()
        if missing_end:
            self._sink.write(b"\n")

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        if batch.encoded is not None:
            self._put_held()
            for part in batch.encoded:
                self._put_lines(part.payload)
            return []
        if batch.frame is not None:
            return self._take_frame(batch.frame)
        self._put_held()
        records = batch.records or []
        return self._put_sliced(len(records), records.__getitem__)

    def checkpoint(self) -> State:
        """Put every line on disk."""
        self._put_held()
        return {"length": self._sink.checkpoint()}

    def finish(self) -> None:
        """Write what is left and close the file."""
        self._put_held()
        self._sink.end()
        self._sink.close()

    def abort(self) -> None:
        """Close the file."""
        self._sink.close()

    def _take_frame(self, frame: pl.DataFrame) -> Refusals:
        from etlctl.kit.codecs.frame_text import refuse_not_finite  # noqa: PLC0415

        if not frame.width or not _is_columnar(frame):
            self._put_held()
            return self._put_sliced(frame.height, lambda part: frame_to_rows(frame.slice(part.start, _SLICE)))
        frame, refusals = refuse_not_finite(frame)
        for ready in self._held.add(frame):
            self._put_frame(ready)
        return refusals

    def _put_sliced(self, count: int, records_of: Callable[[slice], list[Record]]) -> Refusals:
        """Write records in small slices, which is several times as fast as all at once."""
        refusals: Refusals = []
        for start in range(0, count, _SLICE):
            _, lines, refused = encode_block(records_of(slice(start, start + _SLICE)))
            refusals += [(start + place, error) for place, error in refused]
            if lines:
                self._put_lines(lines)
        return refusals

    def _put_held(self) -> None:
        for frame in self._held.take():
            self._put_frame(frame)

    def _put_frame(self, frame: pl.DataFrame) -> None:
        file = self._direct()
        if file is not None:
            write_frame(frame, file)
            self._sink.wrote()
            return
        buffer = io.BytesIO()
        write_frame(frame, buffer)
        self._put_lines(buffer.getvalue())

    def _direct(self) -> BinaryIO | None:
        """Return the file when lines may go to it as they are."""
        return self._sink.direct()

    def _put_lines(self, lines: bytes) -> None:
        """Write whole lines."""
        self._sink.write(lines)


def write_frame(frame: pl.DataFrame, file: BinaryIO) -> None:
    """Write a frame without NaN, infinity and nested decimals as JSON lines.

    Polars writes decimals in quotes, so a frame with decimals is put together from JSON pieces around them.
    """
    import polars as pl  # noqa: PLC0415

    from etlctl.kit.codecs.frame_text import text_columns  # noqa: PLC0415

    lazy = frame.lazy().with_columns(text_columns(frame))
    decimals = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Decimal)]
    if not decimals:
        lazy.sink_ndjson(file)
        return
    # A line of compact JSON holds no line end, so writing it as an unquoted CSV cell gives it unchanged.
    lazy.select(pl.concat_str(list(_pieces(frame.columns, set(decimals))))).sink_csv(
        file, include_header=False, quote_style="never"
    )


def _pieces(names: Sequence[str], decimals: set[str]) -> Iterator[pl.Expr]:
    import polars as pl  # noqa: PLC0415

    before = "{"
    for is_decimal, group in groupby(range(len(names)), key=lambda place: names[place] in decimals):
        members = list(group)
        if is_decimal:
            for place in members:
                yield pl.lit(f"{before}{orjson.dumps(names[place]).decode()}:")
                yield pl.nth(place).cast(pl.String).fill_null("null")
                before = ","
        else:
            yield pl.lit(before)
            yield (
                pl.struct([pl.nth(place) for place in members])
                .struct.json_encode()
                .str.strip_prefix("{")
                .str.strip_suffix("}")
            )
            before = ","
    yield pl.lit("}")


def _is_columnar(frame: pl.DataFrame) -> bool:
    """Tell whether Polars can write every column exactly."""
    import polars as pl  # noqa: PLC0415

    from etlctl.kit.codecs.frame_text import has_patterns, inner_types, is_nested  # noqa: PLC0415

    for dtype in frame.schema.values():
        if isinstance(dtype, pl.Object) or has_patterns(dtype):
            return False
        if is_nested(dtype) and any(isinstance(one, pl.Decimal) for one in inner_types(dtype)):
            return False
    return True


def _lacks_line_end(target: Target) -> bool:
    """Tell whether the existing file's last line is whole but not ended.

    Raises:
        FatalError: The last line is no whole JSON value.
    """
    last = _last_line(target)
    if not last.strip() or last.endswith(b"\n"):
        return False
    try:
        orjson.loads(last)
    except orjson.JSONDecodeError as error:
        raise FatalError(
            f"cannot append to {target.name}: its last line is cut short: {last[-80:].decode('utf-8', 'replace')!r}",
            help="repair or remove the last line, then run again",
        ) from error
    return True


def _last_line(target: Target) -> bytes:
    if target.existing is None:
        return b""
    if target.compression != "none":
        with decompress(target.existing.open("rb"), target.compression, target.name) as stream:
            last = b""
            while block := stream.read(_BLOCK):
                last = (last + block)[-_LONGEST_LAST_LINE:]
                last = last[last.rfind(b"\n", 0, -1) + 1 :]
            return last
    with target.existing.open("rb") as file:
        file.seek(0, io.SEEK_END)
        size = file.tell()
        tail = b""
        while len(tail) < min(size, _LONGEST_LAST_LINE) and b"\n" not in tail[:-1]:
            file.seek(max(0, size - max(_BLOCK, 2 * len(tail))))
            tail = file.read()
        return tail[tail.rfind(b"\n", 0, -1) + 1 :]
