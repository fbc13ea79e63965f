"""Which dead letters can be replayed, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.errors import EtlctlError, StateError
from etlctl.frozen import frozen
from etlctl.redact import MASK
from etlctl.run import DeadLetter, RunStatus, StepCounts
from etlctl.sdk.destinations import STEP, Destinations
from etlctl.sdk.loader import Loader
from etlctl.sdk.operation import Scope

if TYPE_CHECKING:
    from etlctl.contract.model import Contract
    from etlctl.state.run_record import RunRecord

_KEYED = {"upsert", "update", "delete"}
_WHOLE_BATCH = "load.batch_failed"
_LOAD = "load"
_UNIQUE = frozenset({"check.unique", "dedupe.duplicate"})


@frozen
class Unfit:
    """A dead letter that cannot be replayed.

    Attributes:
        letter: The dead letter; it stays as it is.
        why: Why not.
        help: What to do instead.
    """

    letter: DeadLetter
    why: str
    help: str


def target_of(group: Iterable[DeadLetter]) -> frozenset[str]:
    """Return the destinations, of several, that a source record is still missing in; empty: it is missing everywhere.

    Args:
        group: All dead letters of the source record. A record that only destinations have refused is in the others.
    """
    letters = list(group)
    still_open = [letter for letter in letters if letter.status == "open"] or letters
    if any(letter.stage != "load" or not letter.step.startswith(STEP) for letter in letters):
        return frozenset()
    return frozenset(letter.step.removeprefix(STEP) for letter in still_open)


def narrowed(loader: Loader, names: frozenset[str]) -> Loader:
    """Return the loader for the destinations that are meant.

    Raises:
        StateError: One of them is not in the contract any more.
    """
    if not names:
        return loader
    if not isinstance(loader, Destinations):
        raise StateError(
            f"the contract has one destination now, and {', '.join(sorted(names))} was one of several",
            help="bring the list back, or discard the dead letters",
        )
    return loader.only(names)


def is_keyed(loader: Loader) -> bool:
    """Tell whether writing the same record twice is the same as writing it once: records are found by their key."""
    if isinstance(loader, Destinations):
        return all(is_keyed(item.loader) for item in loader.items)
    given: Mapping[str, Any] = dict(loader)
    return bool(given.get("primary_key")) and (given.get("write_method") or given.get("write_mode")) in _KEYED


def multiplied_before(letter: DeadLetter, steps: Iterable[StepCounts]) -> str | None:
    """Return the step that may have made several records of a source record, one of which was rejected later.

    Then others of them may be loaded. None when the source record was rejected as a whole.

    Args:
        letter: The dead letter.
        steps: The steps of its run, in order, with their counts.
    """
    if letter.rule == _WHOLE_BATCH:
        return None  # nothing of its batch is loaded
    for step in steps:
        if step.name in {letter.step, _LOAD}:  # copies for several destinations are told apart by them
            return None
        if step.added:
            return step.name
    return None


def unfit_letter(letter: DeadLetter) -> Unfit | None:
    """Return why a dead letter cannot be replayed whatever its run did; None when it can."""
    if not isinstance(letter.raw, Mapping):
        return Unfit(
            letter,
            "it could not be read as a record: there is only its raw text",
            "correct it at the source and run the contract again, or discard it",
        )
    if letter.redacted:
        return Unfit(
            letter,
            "a secret was masked in it: it is no longer the record that the source gave",
            "run the contract again on its source, or discard it",
        )
    if letter.rule in _UNIQUE:
        return Unfit(
            letter,
            "another record of its run had the same key, or the same value of a unique field, and a replay does not "
            "see that one",
            "correct it at the source and run the contract again, or discard it",
        )
    return None


def unfit_run(run: RunRecord) -> tuple[str, str] | None:
    """Return why nothing of a run can be replayed, and what to do; None when it can."""
    if run.dry_run:
        return f"{run.run_id} was a dry run: it has loaded nothing", "run the contract, or discard them"
    if run.status in {RunStatus.succeeded, RunStatus.partial}:
        return None
    if run.status is RunStatus.running and not run.crashed:
        return f"run {run.run_id} is still going on", f"wait for it: etlctl runs show {run.run_id}"
    carry_on = f"etlctl resume --checkpoint {run.checkpoint_id or run.run_id}"
    return (
        f"run {run.run_id} did not finish ({run.shown_status}): whoever loads its source meets these records again",
        f"carry on with it: {carry_on}; or run the contract again, and discard these",
    )


def additive_loader(
    contract: Contract, run: RunRecord, later: Sequence[RunRecord], names: frozenset[str] = frozenset()
) -> Loader:
    """Return the loader that adds the records of a replay; all of a run's letters need it.

    Args:
        contract: The contract as it is today.
        run: The run whose letters are replayed.
        later: Runs of its stream that finished after it.
        names: The destinations that are meant, of several; empty: all.

    Raises:
        EtlctlError: Single records cannot be run through this contract, or cannot be added to what it has loaded.
    """
    if contract.name != run.contract:
        raise StateError(
            f"{contract.path} is now contract {contract.name}, not {run.contract}",
            help="say where the contract is: --contract-path",
        )
    for step in contract.steps:
        if step.operation.scope is Scope.batch:
            raise StateError(
                f"step {step.name} of {contract.name} works on many records at once: single ones cannot be run "
                "through it",
                help="correct the contract or the source and run it again, or discard the dead letters",
            )
    meant = narrowed(contract.loader, names)
    loader = meant.additive()
    if loader != meant and later:
        raise StateError(
            f"run {later[0].run_id} has replaced what {run.run_id} loaded: its dead letters are history",
            help="discard them: etlctl dead-letters discard --run " + run.run_id,
        )
    return loader


def check_params(run: RunRecord, given: Mapping[str, Any]) -> None:
    """Make sure that the parameters of a run are known in full.

    Raises:
        StateError: A secret was masked in them and was not given again.
    """
    for name, value in run.params.items():
        if isinstance(value, str) and MASK in value and name not in given:
            raise StateError(
                f"parameter {name!r} of run {run.run_id} was a secret and was not kept",
                help=f"give it again: etlctl dead-letters replay … -p {name}=…",
            )


def told(error: Exception) -> dict[str, Any]:
    """Return an error as its text, its help and its exit code, under the names ``Replayed`` has for them."""
    if isinstance(error, EtlctlError):
        return {"error": str(error), "error_help": error.help, "exit_code": error.exit_code}
    return {"error": f"{type(error).__name__}: {error}", "exit_code": 1}
