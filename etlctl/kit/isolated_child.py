"""The process that a user's function runs in under ``isolate: true``: what it is told, and what it answers.

Messages in: first the ``FunctionPlace``; then ``("each", records)``, ``("batch", records)`` or ``("frame", bytes)``.
Out: ``("ready",)``; then for each record ``(outcome,)``, or ``("done", result)``; ``("failed", …)`` ends either. A
record's answer is sent before the next record is begun, so that whoever reads knows which one a crash belongs to.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from etlctl.batch import Record
from etlctl.errors import ComponentError, FatalError, RetryableError, UnexpectedError
from etlctl.kit.child_process import Channel, open_channel
from etlctl.kit.raised import kinds_of, text_of
from etlctl.kit.user_function import FunctionPlace, Outcome, Refusal, UserFunction
from etlctl.types import kind_of

if TYPE_CHECKING:
    import polars as pl


def main() -> None:
    """Serve calls until the parent is gone."""
    channel = open_channel()
    place: FunctionPlace = channel.receive()
    try:
        function = place.load()
    except ComponentError as error:
        channel.send(failure(error))
        return
    channel.send(("ready",))
    while True:
        kind, given = channel.receive()
        try:
            _serve(channel, function, kind, given)
        except ComponentError as error:
            channel.send(failure(error))


def _serve(channel: Channel, function: UserFunction, kind: str, given: Any) -> None:
    if kind == "each":
        function.each(given, _Answers(channel, function.place.path))
    elif kind == "batch":
        _send_all(channel, function.batch(given), function.place.path)
    else:
        channel.send(("done", frame_to_bytes(function.frame(bytes_to_frame(given)))))


def _send_all(channel: Channel, records: list[Record], path: str) -> None:
    try:
        channel.send(("done", records))
    except Exception as error:
        raise FatalError(strange(path, records), help="records hold text, numbers, dates, lists and objects") from error


class _Answers:
    """Sends the outcome of each record."""

    def __init__(self, channel: Channel, path: str) -> None:
        self._channel = channel
        self._path = path

    def __call__(self, outcome: Outcome) -> None:
        sent = (outcome.rule, outcome.message) if isinstance(outcome, Refusal) else outcome
        try:
            self._channel.send((sent,))
        except Exception:  # noqa: BLE001 - pickling may call the user's code
            self._channel.send((("custom_function.result", strange(self._path, outcome)),))


def strange(path: str, outcome: Any) -> str:
    """Say that a record holds a value that cannot leave the process."""
    records = outcome if isinstance(outcome, list) else [outcome]
    fields = [(name, value) for record in records if isinstance(record, dict) for name, value in record.items()]
    found = next((f": field {name!r} holds a {kind_of(value)}" for name, value in fields if not _travels(value)), "")
    return f"custom function {path} returned a record that is no plain data{found}"


def _travels(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001
        return False
    return True


def failure(error: ComponentError) -> tuple[Any, ...]:
    """Return an error as a message: retryable, its text, its help, the kinds of its cause and the cause's text."""
    cause = error.__cause__ if isinstance(error, UnexpectedError) else None
    about = (kinds_of(cause), text_of(cause)) if cause is not None else None
    return ("failed", isinstance(error, RetryableError), error.message, error.help, about)


def frame_to_bytes(frame: pl.DataFrame) -> bytes:
    """Return a frame as an Arrow IPC stream."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


def bytes_to_frame(data: bytes) -> pl.DataFrame:
    """Return the frame of an Arrow IPC stream."""
    import polars as pl  # noqa: PLC0415

    return pl.read_ipc_stream(io.BytesIO(data))
