"""Makes the plan of a contract: runs it for real into copies of its destinations, and compares before with after.

The real destinations and the ledger are only read. What cannot be copied is not compared, and the rest is still told.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from etlctl.clock import FixedClock
from etlctl.engine.runner import Surroundings, execute
from etlctl.errors import FatalError, StateError
from etlctl.frozen import frozen
from etlctl.orchestrator.plan import DestinationPlan, Differences, Plan
from etlctl.orchestrator.plan_compare import compare
from etlctl.orchestrator.preview_ledger import PreviewLedger
from etlctl.orchestrator.run_options import RunOptions
from etlctl.redact import Redactor
from etlctl.sdk.context import WriteContext
from etlctl.sdk.destinations import Destination, Destinations
from etlctl.sdk.dry_writer import DryWriter
from etlctl.sdk.loader import Loader, Writer
from etlctl.sdk.stored import Stored

if TYPE_CHECKING:
    from etlctl.contract.model import Contract
    from etlctl.quality import PastRun
    from etlctl.run import DeadLetter, RunResult

_EXAMPLES = 1000
_PLACES = ("table", "path", "url", "connection_string", "database", "bucket")


@frozen(kw_only=True)
class PlanSettings:
    """How to plan.

    Attributes:
        params: Parameters of the contract, the run date among them.
        sample: Source records to read at most; None: all.
        limit: Records of each kind to show.
        key: Fields that find a record, over what the destination says.
        state_url: Where the ledger is; None: as for a run. It is read for checks that compare with earlier runs.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    limit: int = 5
    key: tuple[str, ...] = ()
    state_url: str | None = None


class Unwritten(Loader):
    """Stands for a destination that cannot be copied: takes every record and writes none."""

    async def open(self, ctx: WriteContext) -> Writer:  # noqa: ARG002
        """Return a writer that only counts."""
        return DryWriter()


@dataclass
class _Target:
    """One destination: as it is, as it was before, and as it is after the run."""

    item: Destination
    before: Loader | None = None
    after: Loader | None = None
    unknown: str | None = None
    help: str | None = None
    was: Stored | None = None


class _PlanLedger(PreviewLedger):
    """Counts what would be rejected, by rule, and keeps some examples; knows the runs before."""

    def __init__(
        self, examples: list[DeadLetter], rules: Counter[str], past: Callable[[int], Sequence[PastRun]]
    ) -> None:
        super().__init__(examples)
        self._examples = examples
        self._rules = rules
        self._past = past

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count them."""
        self._rules.update(letter.rule for letter in letters)
        self._examples.extend(letters[: max(_EXAMPLES - len(self._examples), 0)])

    def history(self, limit: int) -> Sequence[PastRun]:
        """Return the real runs that finished before."""
        return self._past(limit)


async def make_plan(
    contract_dir: str | Path, settings: PlanSettings, *, warn: Callable[[str], None] = lambda _message: None
) -> Plan:
    """Plan a run of a contract: nothing is written but in a temporary folder that is removed again.

    Args:
        contract_dir: The contract: its folder, or a ``pipeline.yaml``.
        settings: How.
        warn: Reports something the user should know.

    Raises:
        ContractError: The contract does not hold.
    """
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
    from etlctl.contract.compile import load_contract  # noqa: PLC0415
    from etlctl.orchestrator.incremental import finder  # noqa: PLC0415
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415

    began, now = time.perf_counter(), datetime.now(UTC)
    overrides = {"max_records": settings.sample} if settings.sample is not None else {}
    state_dir = find_workspace(Path(contract_dir)).state_dir
    contract = load_contract(
        contract_dir,
        params=settings.params,
        overrides=overrides,
        now=now,
        increment_of=finder(lambda: open_ledger(settings.state_url, state_dir, create=False)),
    )
    with tempfile.TemporaryDirectory(prefix="etlctl-plan-", ignore_cleanup_errors=True) as made:
        planning = _Planning(contract, settings, now, await asyncio.to_thread(Path(made).resolve), warn)
        return await planning.plan(began)


class _Planning:
    """One plan."""

    def __init__(
        self, contract: Contract, settings: PlanSettings, now: datetime, folder: Path, warn: Callable[[str], None]
    ) -> None:
        self._contract = contract
        self._settings = settings
        self._now = now
        self._folder = folder
        self._redactor = Redactor(contract.secrets)
        self._warn: Callable[[str], None] = lambda message: warn(self._text(message))
        self._rules: Counter[str] = Counter()
        self._examples: list[DeadLetter] = []
        loader = contract.loader
        items = loader.items if isinstance(loader, Destinations) else (Destination("", loader),)
        self._targets = [_Target(item) for item in items]

    async def plan(self, began: float) -> Plan:
        """Copy, run, compare."""
        for number, target in enumerate(self._targets):
            await self._copy(target, self._folder / f"{number}")
        copied = await asyncio.to_thread(_bytes_in, self._folder)
        result = await self._run(guarded=True)
        notes = self._notes()
        if result.error_type == "LimitError" and all(target.before is not None for target in self._targets):
            # Nothing was published: what it would have been is told by a run that nobody holds back.
            again = await self._rerun()
            notes.append(
                "the run would be refused, see its error: the differences are those it would make if it were not"
            )
            result = replace(again, error=result.error, error_type=result.error_type, error_help=result.error_help,
                             exit_code=result.exit_code, status=result.status)  # fmt: skip
            differences_told = True
        else:
            differences_told = result.error is None
        found = [
            await self._destination(number, target, told=differences_told)
            for number, target in enumerate(self._targets)
        ]
        return self._plan(result, found, notes, time.perf_counter() - began, copied)

    def _plan(
        self, result: RunResult, found: Sequence[DestinationPlan], notes: Sequence[str], seconds: float, copied: int
    ) -> Plan:
        contract, envelope = self._contract, self._contract.envelope
        examples = [
            {"location": one.location, "step": one.step, "rule": one.rule, "field": one.field, "message": one.message}
            for one in self._examples[: self._settings.limit]
        ]
        return Plan(
            contract=contract.name,
            version=contract.version,
            source=self._redactor.text(f"{contract.extract_type} {_place_of(contract.extractor)}".rstrip()),
            mode=str(envelope.processing_mode),
            steps=self._steps(result),
            result=result,
            rejected=dict(self._rules.most_common()),
            examples=tuple(examples),
            destinations=tuple(found),
            sampled=self._settings.sample if self._more_than_sampled(result) else None,
            notes=tuple(notes),
            seconds=seconds,
            copied_bytes=copied,
        )

    def _more_than_sampled(self, result: RunResult) -> bool:
        return self._settings.sample is not None and result.counts.extracted >= self._settings.sample

    def _steps(self, result: RunResult) -> Any:
        """Return the account of the steps; of one that no record came to, at least why it is not columnar."""
        operations = {step.name: step.operation for step in self._contract.steps}
        own = [step for step in result.steps if step.name in operations]
        for step in own:
            if not step.form:
                step.why = operations[step.name].frame_reason() or ""
        return tuple(own)

    def _notes(self) -> list[str]:
        notes = []
        if self._settings.sample is not None:
            notes.append(f"only {self._settings.sample:,} source records at most were read: more would be loaded")
        return notes

    # Copies

    async def _copy(self, target: _Target, folder: Path) -> None:
        ctx = self._ctx(target)
        try:
            target.before = await asyncio.to_thread(target.item.loader.scratch, folder / "before", ctx)
            target.after = await asyncio.to_thread(target.before.scratch, folder / "after", ctx)
            # What cannot be read may not be written either: the run into the copy goes on, to tell.
            target.was = await target.before.stored(ctx)
        except FatalError as error:
            if target.after is None:
                target.before = None
            target.unknown = self._text(str(error))
            target.help = error.help or "a loader can be planned for when it has the methods scratch and contents"

    def _text(self, text: str) -> str:
        """Return a message without secrets, in which copies are called what they are copies of."""
        made, sep = re.escape(f"{self._folder}{os.sep}"), re.escape(os.sep)
        copies = re.compile(rf"{made}(\d+)(?:{sep}(?:before|after-all|after)(?:{sep}([\w.-]*))?)?")
        return copies.sub(self._original, self._redactor.text(text))

    def _original(self, copy: re.Match[str]) -> str:
        """Return the destination as the contract calls it, for its copy or what is in the copy's folder."""
        path = getattr(self._targets[int(copy[1])].item.loader, "path", None)
        if not isinstance(path, str):
            return copy[2] or "the destination"
        return path if copy[2] in {None, "", Path(path).name} else copy[2]

    def _ctx(self, target: _Target) -> WriteContext:
        contract = self._contract
        ctx = WriteContext(
            base_dir=contract.base_dir,
            now=self._now,
            params=contract.params,
            stream=contract.stream,
            fields=contract.fields,
            guard=contract.guard,
        )
        return target.item.context(ctx) if target.item.name else ctx

    # Runs

    async def _rerun(self) -> RunResult:
        """Run once more into fresh copies, with nothing to hold it back."""
        for number, target in enumerate(self._targets):
            if target.before is not None:
                folder = self._folder / f"{number}" / "after-all"
                target.after = await asyncio.to_thread(target.before.scratch, folder, self._ctx(target))
        self._rules.clear()
        self._examples.clear()
        return await self._run(guarded=False)

    async def _run(self, *, guarded: bool) -> RunResult:
        contract = self._contract
        loader = contract.loader
        items = [replace(target.item, loader=target.after or Unwritten()) for target in self._targets]
        stand_in: Loader = Destinations.of(items) if isinstance(loader, Destinations) else items[0].loader
        load = contract.load_envelope
        steps = contract.steps
        if not guarded:
            guard = load.replace_guard.model_copy(update={"max_shrink_percent": None, "allow_empty": True})
            load = load.model_copy(update={"replace_guard": guard, "dead_letters": None})
            steps = tuple(step for step in steps if not step.operation.concludes)
        plan = replace(contract, loader=stand_in, load_envelope=load, steps=steps)
        checkpoint = contract.envelope.checkpoint.model_copy(update={"enabled": False})
        plan = replace(plan, envelope=contract.envelope.model_copy(update={"checkpoint": checkpoint}))
        settings = RunOptions().settings(plan, None, None, None)
        if not guarded:
            settings = replace(settings, recovery=replace(settings.recovery, error_threshold=None))
        around = Surroundings(
            open_ledger=lambda: _PlanLedger(self._examples, self._rules, self._past),
            warn=self._warn,
            clock=FixedClock(self._now),
        )
        result = await execute(plan, settings, around)
        said: dict[str, Any] = {
            name: self._text(getattr(result, name) or "") or None for name in ("error", "error_help", "traceback")
        }
        return replace(result, **said)

    def _past(self, limit: int) -> Sequence[PastRun]:
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        state_dir = find_workspace(self._contract.base_dir).state_dir
        try:
            with open_ledger(self._settings.state_url, state_dir=state_dir, create=False) as ledger:
                return ledger.history(self._contract.stream, limit)
        except StateError as error:
            self._warn(f"the ledger cannot be read, so checks against earlier runs see none: {error}")
            return ()

    # Comparison

    async def _destination(self, number: int, target: _Target, *, told: bool) -> DestinationPlan:
        item = target.item
        differences, created, columns, exists = None, False, {}, None
        unknown, help_ = target.unknown, target.help
        if target.was is not None:
            exists = target.was.exists
        if target.after is not None and target.was is not None and told:
            now = await target.after.stored(self._ctx(target))
            differences = await asyncio.to_thread(self._compare, number, target.was, now)
            created = now.exists and not target.was.exists
            columns = _new_columns(target.was, now, differences)
        elif unknown is None:
            unknown = "the run would fail before it has published anything"
        return DestinationPlan(
            name=item.name,
            type=self._type_of(item.loader),
            place=self._redactor.text(_place_of(item.loader)),
            method=_method_of(item.loader),
            delivery=str(item.loader.delivery()),
            where=item.where is not None,
            exists=exists,
            created=created,
            new_columns=columns,
            differences=differences,
            unknown=unknown,
            help=help_,
        )

    def _type_of(self, loader: Loader) -> str:
        return type(loader).__module__.rpartition(".")[2] if self._targets[0].item.name else self._contract.load_type

    def _compare(self, number: int, was: Stored, now: Stored) -> Differences:
        folder = self._folder / f"{number}"
        folder.mkdir(exist_ok=True)
        return compare(was, now, key=self._settings.key, samples=self._settings.limit, folder=folder)


def _new_columns(was: Stored, now: Stored, differences: Differences) -> dict[str, str]:
    if not was.exists:
        return dict(now.columns)
    if now.columns:
        known = {name.lower() for name in was.columns}
        return {name: kind for name, kind in now.columns.items() if name.lower() not in known}
    return dict.fromkeys(differences.fields_added, "")


def _place_of(component: Any) -> str:
    """Return where a component reads or writes, in words: those of its options that say it."""
    found = [(name, getattr(component, name, None)) for name in _PLACES]
    texts = []
    for name, value in found:
        if isinstance(value, BaseModel):
            value = next((one for one in value.model_dump().values() if one), None)  # noqa: PLW2901
        if value:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            texts.append(f"table {text} in" if name == "table" else text)
    return " ".join(texts)


def _method_of(loader: Any) -> str:
    method = getattr(loader, "method", None) or getattr(loader, "write_method", None)
    if method is None:
        method = "append" if getattr(loader, "appends", False) else "replace" if hasattr(loader, "appends") else ""
    key = getattr(loader, "key", ()) if getattr(method, "keyed", False) else ()
    return f"{method} by {', '.join(key)}" if key else str(method)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
