"""``etlctl run --param-file``: one run for each parameter set, told as they end and in a table when all have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from etlctl.cli import output
from etlctl.cli.signals import run_until_signal
from etlctl.errors import ContractError, EtlctlError
from etlctl.frozen import frozen
from etlctl.orchestrator import ETLOrchestrator
from etlctl.orchestrator.param_file import read_param_file

if TYPE_CHECKING:
    from etlctl.engine.services import StopRequest
    from etlctl.orchestrator.multiple import MultipleResult

GOOD, FAILED, INVALID, PARTIAL = 0, 1, 3, 4


@frozen
class Pace:
    """How fast runs follow each other.

    Attributes:
        concurrency: How many run at once.
        delay: Seconds between two runs.
    """

    concurrency: int
    delay: float


def run_file(
    contract: Path,
    param_file: Path,
    options: Mapping[str, Any],
    pace: Pace,
    *,
    checkpoint_dir: Path | None,
    json: bool,
    quiet: bool,
) -> NoReturn:
    """Run a contract once for each parameter set of a file; leave with the exit code of all of them.

    Args:
        contract: The contract.
        param_file: The parameter sets.
        options: Keyword arguments of ``ETLOrchestrator.run``; its ``params`` apply to every set that does not say
            otherwise.
        pace: How many run at once, and what is between them.
        checkpoint_dir: Folder of JSON checkpoints; None: in the ledger.
        json: Print the results as JSON.
        quiet: Say nothing but errors.

    Raises:
        typer.Exit: Always: 0 all good, 4 some failed or rejected records, 1 all failed, 130/143 stopped.
        ParamSetError: The file does not hold parameter sets.
        ContractError: The contract does not hold for any of them.
    """
    sets = read_param_file(param_file)
    given = dict(options)
    orchestrator = ETLOrchestrator(
        contract, params=given.pop("params"), warn=output.warn, checkpoint_dir=checkpoint_dir
    )  # fmt: skip
    given["records_per_batch"] = given.pop("batch_size")
    asked: list[StopRequest] = []
    done = 0

    def ended(_number: int, result: MultipleResult) -> None:
        nonlocal done
        done += 1
        if not quiet:
            output.say(f"[{done}/{len(sets)}] {_named(result)}: {_outcome(result)}")

    async def work(stop: StopRequest) -> list[MultipleResult]:
        asked.append(stop)
        return await orchestrator.run_multiple(
            param_sets=sets,
            batch_size=pace.concurrency,
            delay_between_runs=pace.delay,
            stop=stop,
            ended=ended,
            **given,
        )

    if not quiet:
        output.say(f"{len(sets):,} parameter sets, {pace.concurrency:,} at once")
    results = run_until_signal(work)
    _raise_if_invalid(results)
    _tell(results, json=json, quiet=quiet)
    code = asked[0].exit_code if asked[0].requested else exit_code(results)
    raise typer.Exit(code)


def exit_code(results: Sequence[MultipleResult]) -> int:
    """Return the exit code of all runs together: 0 all good, 1 all failed, 4 anything between."""
    if not any(result.success for result in results):
        return FAILED
    return GOOD if all(result.success and not result.partial for result in results) else PARTIAL


def _raise_if_invalid(results: Sequence[MultipleResult]) -> None:
    """A contract that does not hold whatever the parameters is told once, as for a single run."""
    problems = [result.problem for result in results]
    if all(isinstance(problem, ContractError) for problem in problems) and len({str(one) for one in problems}) == 1:
        error = problems[0]
        if isinstance(error, EtlctlError):
            raise error


def _tell(results: Sequence[MultipleResult], *, json: bool, quiet: bool) -> None:
    if json:
        output.json_data([result.to_dict() for result in results])
    elif not quiet:
        columns = ("params", "status", "records", "rejected", "run")
        rows = [
            (
                _named(result),
                _status(result),
                f"{result.records:,}",
                f"{result.result.counts.rejected:,}" if result.result else None,
                result.run_id,
            )
            for result in results
        ]
        output.table(columns, rows, right=columns[2:4], whole=columns[4:])
    good = sum(result.success for result in results)
    if not quiet:
        records = sum(result.records for result in results)
        output.say(f"{good:,} of {len(results):,} runs succeeded, {records:,} records loaded")
    for result in results:
        if not result.success:
            _tell_failure(result)


def _tell_failure(result: MultipleResult) -> None:
    output.say(f"error: {_named(result)}: {result.error}")
    if result.error_help:
        output.say(f"  help: {result.error_help}")
    if result.resume_command:  # even when nothing was loaded: to run again would be all sets
        output.say(f"  carry on with: {result.resume_command}")
    if output.debugging() and result.result is not None and result.result.traceback:
        output.say(result.result.traceback)


def _named(result: MultipleResult) -> str:
    return " ".join(f"{name}={value}" for name, value in result.params.items()) or "(no parameters)"


def _status(result: MultipleResult) -> str:
    if result.result is None:
        return "failed" if result.begun else "not begun"
    return f"{result.result.status}{' (reused)' if result.result.reused else ''}"


def _outcome(result: MultipleResult) -> str:
    if not result.success:
        return f"{_status(result)}: {result.error}"
    rejected = result.result.counts.rejected if result.result is not None else 0
    return f"{_status(result)}, {result.records:,} records" + (f", {rejected:,} rejected" if rejected else "")
