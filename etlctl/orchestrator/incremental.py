"""What an incremental run goes by: the ledger's cursor, or what an earlier attempt of the run began with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from etlctl.contract.increment import increment
from etlctl.cursor import Increment, comparable
from etlctl.engine.incremental import KEY
from etlctl.errors import CheckpointError, ContractError, NotInLedgerError, StateError
from etlctl.frozen import frozen
from etlctl.temporal import Unparsable

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from etlctl.contract.increment import IncrementOf, Sought
    from etlctl.contract.incremental_section import IncrementalSection
    from etlctl.contract.model import Contract
    from etlctl.state.ledger import Ledger


@frozen(kw_only=True)
class ReadRange:
    """A part of the source to read whatever the cursor says.

    Attributes:
        low: Smallest value, itself included.
        high: Largest value; None: to the end that the contract says.
        open_high: ``high`` itself is left out.
        partition: The range is a stream of its own, with this behind ``@`` in its name; None: it is the contract's.
        moves: The cursor of the contract moves when the run has finished.
    """

    low: str
    high: str | None = None
    open_high: bool = False
    partition: str | None = None
    moves: bool = True


def begun_with(account: Mapping[str, Any]) -> Increment | None:
    """Return what a run began with, by the account of its checkpoint or commit token."""
    values = account.get(KEY)
    return Increment.of(values["of"]) if values else None


def finder(
    open_ledger: Callable[[], Ledger],
    *,
    begun: Increment | None = None,
    key_with: Callable[[Mapping[str, Any]], str | None] = lambda _params: None,
    checkpoint_dir: Path | None = None,
    read: ReadRange | None = None,
) -> IncrementOf:
    """Return what finds what a run goes by. It blocks, and only for contracts that are incremental.

    Args:
        open_ledger: Opens the ledger, for reading.
        begun: What the run that is resumed began with.
        key_with: Gives the run key by the contract's parameters: a run with it that did not finish is taken up again.
        checkpoint_dir: Folder of JSON checkpoints; None: they are in the ledger.
        read: What to read whatever the cursor says.
    """

    def find(sought: Sought) -> Increment:
        if begun is not None:
            return begun
        stream, section, now, run_key = sought.stream, sought.section, sought.now, key_with(sought.params)
        with open_ledger() as ledger:
            earlier = None if run_key is None else _by_key(ledger, sought.contract, run_key, checkpoint_dir)
            if earlier is not None:
                return earlier
            if read is not None:
                return _ranged(stream, section, now, read)
            stored = ledger.cursor(stream, section.cursor_field)
        if stored is None:
            return increment(stream, section, now)
        try:
            comparable(stored.value, section.kind)
        except Unparsable as why:
            raise StateError(
                f"the cursor {section.cursor_field} of {stream} stands at {stored.value!r}, which {why}; the contract "
                f"says value_type: {section.kind}",
                help=f"put it right: etlctl cursor set {stream} {section.cursor_field} VALUE (or cursor reset …)",
            ) from None
        return increment(stream, section, now, start=stored.value, seen=stored.recent)

    return find


def _ranged(stream: str, section: IncrementalSection, now: datetime, read: ReadRange) -> Increment:
    """Return what a run of a range goes by: it knows nothing of what was loaded before, and reads all of the range."""
    kind = section.kind
    for text in (read.low, read.high):
        try:
            if text is not None:
                comparable(text, kind)
        except Unparsable as why:
            raise ContractError(
                f"{text!r} {why}; incremental reads {section.cursor_field} as value_type: {kind}",
                help="give a value such as the field has, for example "
                + {"datetime": "2024-01-31T06:00:00Z", "date": "2024-01-31"}.get(kind, "1000"),
            ) from None
    made = increment(stream, section, now)
    window = replace(made.window, low=read.low)
    if read.high is not None:
        window = replace(window, high=read.high, open_high=read.open_high)
    until = read.high if read.high is not None else made.until
    return replace(made, window=window, until=until, moves=read.moves)


def ranged(contract: Contract, read: ReadRange) -> Contract:
    """Return a contract that reads a range; as a stream of its own, if it is to be one.

    Raises:
        ContractError: It is not incremental: nobody knows which records are in the range.
    """
    if contract.increment is None:
        raise ContractError(
            f"contract {contract.name} is not incremental: nothing says which of its records are in a range",
            help="say which field tells, in extract.yaml: incremental: {cursor_field: updated_at}",
        )
    return contract if read.partition is None else replace(contract, stream=f"{contract.stream}@{read.partition}")


def _by_key(ledger: Ledger, contract: str, run_key: str, checkpoint_dir: Path | None) -> Increment | None:
    """Return what the run with a key began with, None when there is none or it has finished."""
    run = ledger.run_of_key(contract, run_key)
    if run is None or run.checkpoint_id is None or (run.result is not None and run.status.finished):
        return None
    try:
        if checkpoint_dir is None:
            return begun_with(ledger.checkpoint(run.checkpoint_id).account)
        from etlctl.state.checkpoint_files import CheckpointFiles  # noqa: PLC0415

        return begun_with(CheckpointFiles(checkpoint_dir).checkpoint(run.checkpoint_id).account)
    except (NotInLedgerError, CheckpointError):
        return None  # the destination's own token will say whether it fits
