"""Backfill: an incremental contract run once for each range of its cursor field, each range a stream of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.cursor import comparable, shifted, span_of
from etlctl.errors import ContractError
from etlctl.frozen import frozen
from etlctl.orchestrator.incremental import ReadRange
from etlctl.orchestrator.multiple import MultipleResult, run_sets
from etlctl.orchestrator.param_sets import ParamSet
from etlctl.run import RunResult
from etlctl.temporal import Unparsable

if TYPE_CHECKING:
    from etlctl.contract.model import Contract
    from etlctl.engine.services import StopRequest
    from etlctl.orchestrator.orchestrator import ETLOrchestrator

MOST = 100_000
"""Ranges of one backfill."""


@frozen(kw_only=True)
class Range:
    """One range of a backfill.

    Attributes:
        low: Where it begins, itself included.
        high: Where it ends, itself left out.
        run_key: Key of its run: a range that is done is not done again, one that failed is resumed.
        status: How its run stands: ``new``, ``succeeded``, ``failed``, …
        run_id: Its run, if there is one.
    """

    low: str
    high: str
    run_key: str
    status: str = "new"
    run_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "from": self.low,
            "to": self.high,
            "run_key": self.run_key,
            "status": self.status,
            "run_id": self.run_id,
        }


class Backfill:
    """The ranges of a contract, and running them.

    Args:
        orchestrator: Of the contract.
        low: Where the first range begins, itself included.
        high: Where the last one ends, itself left out.
        window: How long a range is: ``1d``, ``12h``, ``1w``, or a number where the cursor is one.
        params: Parameters of the contract.
        state_url: Where the ledger is; None: as for a run.

    Raises:
        ContractError: The contract does not hold, is not incremental or replaces its destination, or there is no range.
    """

    def __init__(
        self,
        orchestrator: ETLOrchestrator,
        low: str,
        high: str,
        window: str,
        *,
        params: Mapping[str, Any] | None = None,
        state_url: str | None = None,
    ) -> None:
        from etlctl.contract.compile import load_contract  # noqa: PLC0415

        self._orchestrator = orchestrator
        self._params = dict(params or {})
        self._state_url = state_url
        path = Path(orchestrator.contract_dir)
        # Only what kind of cursor it has is asked for here, so that any first value will do.
        contract = load_contract(path, params=self._params, cursor=low)
        self._contract = contract
        self._low, self._high = low, high
        self.ranges = [self._known(one) for one in split(contract, low, high, window)]

    def _known(self, bounds: tuple[str, str]) -> Range:
        low, high = bounds
        increment = self._contract.increment
        if increment is None:
            raise ContractError("the contract is not incremental")
        others = json.dumps(dict(self._contract.params), sort_keys=True, default=str) if self._contract.params else ""
        ending = f"-{hashlib.sha256(others.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}" if others else ""
        return Range(low=low, high=high, run_key=f"backfill-{increment.window.field}-{low}..{high}{ending}")

    def planned(self) -> list[Range]:
        """Return the ranges with how the run of each stands. Blocks."""
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        made = []
        with open_ledger(self._state_url, find_workspace(self._contract.base_dir).state_dir, create=False) as ledger:
            for one in self.ranges:
                run = ledger.run_of_key(self._contract.name, one.run_key)
                made.append(one if run is None else replace(one, status=str(run.shown_status), run_id=run.run_id))
        return made

    async def run(
        self,
        options: Mapping[str, Any],
        *,
        at_once: int = 1,
        stop: StopRequest | None = None,
        ended: Callable[[int, MultipleResult], object] = lambda _number, _result: None,
    ) -> list[MultipleResult]:
        """Run every range; one that is done already is skipped, one that failed is resumed.

        Args:
            options: More keyword arguments of ``ETLOrchestrator.run``.
            at_once: How many ranges run at once.
            stop: Asks the runs in hand to stop; no more are begun.
            ended: Told the 0-based number of a range and how it ended.

        Returns:
            How each ended, in order; ``params`` of each are its ``from`` and ``to``.
        """
        by_key = {one.run_key: one for one in self.ranges}
        sets = [ParamSet({"from": one.low, "to": one.high}, one.run_key) for one in self.ranges]

        async def one_range(given: ParamSet, earlier: RunResult | None) -> RunResult:
            found = by_key[given.key]
            read = ReadRange(
                low=found.low, high=found.high, open_high=True, partition=f"{found.low}..{found.high}", moves=False
            )
            own = {**options, "params": self._params, "read": read, "trigger": "backfill", "stop": stop}
            if earlier is not None and earlier.checkpoint_id is not None:
                return await self._orchestrator.run(**own, checkpoint_id=earlier.checkpoint_id, resume=True)
            return await self._orchestrator.run(**own, run_key=found.run_key)

        return await run_sets(sets, one_range, at_once=at_once, stop=stop, ended=ended)

    async def move_cursor(self) -> bool:
        """Move the contract's own cursor to the end of the last range, unless it is further already; tells whether."""
        return await asyncio.to_thread(self._move_cursor)

    def _move_cursor(self) -> bool:
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        increment = self._contract.increment
        if increment is None:
            return False
        from etlctl.state.cursors import StoredCursor  # noqa: PLC0415

        kind, stream, field = increment.window.value_type, increment.stream, increment.window.field
        with open_ledger(self._state_url, find_workspace(self._contract.base_dir).state_dir) as ledger:
            found = ledger.cursor(stream, field)
            if found is not None and comparable(found.value, kind) >= comparable(self._high, kind):
                return False
            new = StoredCursor(stream=stream, field=field, value=self._high, value_type=kind)
            ledger.set_cursor(new, how="backfill", idle=True)
        return True


def split(contract: Contract, low: str, high: str, window: str) -> Sequence[tuple[str, str]]:
    """Return the ranges from ``low`` up to ``high``, each a window long, the last one maybe shorter.

    Raises:
        ContractError: There are none, or the contract cannot be run by ranges.
    """
    from etlctl.contract.rules.w604_replaced_increment import replaces  # noqa: PLC0415
    from etlctl.sdk.destinations import Destinations  # noqa: PLC0415

    if contract.increment is None:
        raise ContractError(
            f"contract {contract.name} is not incremental: nothing says which of its records are in a range",
            help="say which field tells, in extract.yaml: incremental: {cursor_field: updated_at}",
        )
    loader = contract.loader
    loaders = [item.loader for item in loader.items] if isinstance(loader, Destinations) else [loader]
    if any(map(replaces, loaders)):
        raise ContractError(
            f"contract {contract.name} replaces its destination in every run: only the last range would be left",
            help="write_method: append keeps what is there; upsert (with primary_key) updates it",
        )
    kind = contract.increment.window.value_type
    try:
        first, last, step = comparable(low, kind), comparable(high, kind), span_of(window, kind)
    except (Unparsable, ValueError) as why:
        raise ContractError(f"the ranges from {low!r} to {high!r} by {window!r}: {why}") from None
    if not step:
        raise ContractError(f"a window of {window!r} has no length", help="write for example 1d, 12h or 1w")
    if last <= first:
        raise ContractError(f"no range lies between {low} and {high}", help="--to must lie behind --from")
    if (last - first) / step > MOST:
        raise ContractError(f"that would be more than {MOST:,} ranges", help="choose a longer window")
    bounds, at = [low], first
    while (at := at + step) < last:
        bounds.append(shifted(low, kind, first - at))
    bounds.append(high)
    return list(pairwise(bounds))
