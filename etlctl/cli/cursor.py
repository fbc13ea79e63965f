"""``etlctl cursor``: how far incremental loads are, and how to move them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson
from etlctl.cli.state import instant, minute, reading, state_dir

if TYPE_CHECKING:
    from etlctl.state.cursors import StoredCursor
    from etlctl.state.ledger import Ledger

app = typer.Typer(help="How far incremental loads are, and moving them by hand.", no_args_is_help=True)

Stream = Annotated[
    str,
    typer.Argument(
        help="The contract's name; with parameters the stream as 'cursor list' shows it.", show_default=False
    ),
]
MaybeStream = Annotated[str | None, typer.Argument(help="Only this stream.", show_default=False)]
Field = Annotated[str, typer.Argument(help="The cursor field.", show_default=False)]
MaybeField = Annotated[
    str | None, typer.Argument(help="The cursor field; may be left out when there is one.", show_default=False)
]
ValueType = Annotated[
    Literal["datetime", "date", "integer", "float", "decimal", "string"] | None,
    typer.Option("--type", help="What the value is; that of the cursor there is, else datetime."),
]


@app.command("list")
def list_cursors(*, json: AsJson = False) -> None:
    """List the cursors of all streams.

    Example: etlctl cursor list
    """
    with output.errors_as_exit_codes():
        with reading() as ledger:
            found = ledger.cursors()
        if json:
            output.json_data([one.to_dict() for one in found])
            return
        if not found:
            output.say("no cursors: no incremental run came to its end")
            return
        columns = ("stream", "field", "value", "type", "moved (UTC)", "by")
        rows = [
            (one.stream, one.field, one.value, one.value_type, minute(one.updated_at), one.run_id or "hand")
            for one in found
        ]
        output.table(columns, rows, whole=(columns[0], columns[2]))


@app.command("show")
def show_cursor(stream: Stream, field: MaybeField = None, *, json: AsJson = False) -> None:
    """Show one cursor: where the next run begins.

    Example: etlctl cursor show orders
    """
    with output.errors_as_exit_codes():
        with reading() as ledger:
            found = _found(ledger, stream, field)
        if json:
            output.json_data(found.to_dict())
            return
        remembered = sum(map(len, found.recent.values()))
        facts = {
            "stream": found.stream,
            "field": found.field,
            "value": found.value,
            "type": found.value_type,
            "moved": f"{instant(found.updated_at)} UTC",
            "by": found.run_id or "hand",
            "remembers": f"{remembered:,} records at it or within the lag, so as not to load them again",
        }
        output.data("\n".join(f"{name:<10} {text}" for name, text in facts.items()))


@app.command("set")
def set_cursor(stream: Stream, field: Field, value: str, *, value_type: ValueType = None) -> None:
    """Put a cursor somewhere: the next run reads from there, that value included.

    Put back, it makes the next run load again what was loaded before. Refused while a run of the stream goes on.

    Examples: etlctl cursor set orders updated_at 2024-01-31T06:00:00Z  ·  etlctl cursor set events id 9 --type integer
    """
    from etlctl.cursor import comparable  # noqa: PLC0415
    from etlctl.state.cursors import StoredCursor  # noqa: PLC0415
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415
    from etlctl.temporal import Unparsable  # noqa: PLC0415

    with output.errors_as_exit_codes(), open_ledger(state_dir=state_dir()) as ledger:
        before = ledger.cursor(stream, field)
        kind = value_type or (before.value_type if before is not None else "datetime")
        try:
            comparable(value, kind)
        except Unparsable as why:
            raise typer.BadParameter(f"{value!r} {why} (--type {kind})", param_hint="VALUE") from None
        ledger.set_cursor(StoredCursor(stream=stream, field=field, value=value, value_type=kind), idle=True)
        was = f" (was {before.value})" if before is not None else ""
        output.say(f"cursor {field} of {stream} is {value} now{was}")


@app.command("reset")
def reset_cursor(stream: Stream, field: MaybeField = None) -> None:
    """Forget a cursor: the next run begins at the contract's initial value. Refused while a run of the stream goes on.

    Example: etlctl cursor reset orders updated_at
    """
    with output.errors_as_exit_codes(), reading() as ledger:
        found = _found(ledger, stream, field)
        ledger.delete_cursor(stream, found.field, idle=True)
        output.say(f"forgot cursor {found.field} of {stream}, which was {found.value}")


@app.command("history")
def show_history(
    stream: MaybeStream = None,
    field: MaybeField = None,
    *,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    json: AsJson = False,
) -> None:
    """Show who moved cursors from where to where, the newest move first.

    Examples: etlctl cursor history  ·  etlctl cursor history orders
    """
    with output.errors_as_exit_codes():
        with reading() as ledger:
            found = ledger.cursor_history(stream, field, limit)
        if json:
            output.json_data([one.to_dict() for one in found])
            return
        if not found:
            output.say("no cursor was ever moved")
            return
        columns = ("moved (UTC)", "stream", "field", "from", "to", "by")
        rows = [
            (instant(one.moved_at), one.stream, one.field, one.before, one.after, one.run_id or f"hand ({one.how})")
            for one in found
        ]
        output.table(columns, rows, whole=columns[:2])


def _found(ledger: Ledger, stream: str, field: str | None) -> StoredCursor:
    from etlctl.errors import NotInLedgerError  # noqa: PLC0415

    found = [one for one in ledger.cursors(stream) if field in {None, one.field}]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.field for one in found)
        raise NotInLedgerError(f"{stream} has several cursors: {names}", help="name the field")
    what = f"cursor {field!r}" if field is not None else "cursor"
    raise NotInLedgerError(f"{stream!r} has no {what}", help="see: etlctl cursor list")
