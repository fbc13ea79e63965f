"""``etlctl prove``: kill a contract at every place and at random instants, resume it, and see that nothing is wrong."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlctl.cli import output
from etlctl.cli.arguments import AsJson, ContractPath, Params, parse_params
from etlctl.cli.run import Mode

if TYPE_CHECKING:
    from etlctl.orchestrator.proof import Proof, ProofSettings

RECORDS = 1000
"""Source records a proof reads at most, unless told otherwise."""


def prove(
    contract: ContractPath,
    *,
    param: Params = None,
    seeds: Annotated[int, typer.Option(min=0, help="How many runs to kill at random instants.")] = 10,
    seed: Annotated[int | None, typer.Option(help="Makes the same random instants again.", show_default="any")] = None,
    max_records: Annotated[int, typer.Option(min=1, help="Source records to read at most.")] = RECORDS,
    mode: Annotated[Mode | None, typer.Option(help="Processing mode; the contract's choice if left out.")] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep every destination and ledger in this new folder.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Prove that a contract loses nothing and doubles nothing, however it dies.

    Runs it undisturbed, then kills it (SIGKILL) at every place where it could hurt and at random instants, resumes it
    each time until it is done, and compares the destination, the dead letters and the account with the undisturbed
    run. Each run has a copy of the destination and a ledger of its own in a temporary folder: the real ones are not
    touched. The source is read many times, and steps that act on other systems act each time.

    Exit code: 0 proved, 1 something was lost, doubled or left behind, 2 it cannot be proved, 3 the contract is invalid.

    Examples: etlctl prove contracts/orders  ·  etlctl prove contracts/orders -p day=2026-01-31 --seeds 100 --keep trial
    """
    given = {
        "params": parse_params(param),
        "seeds": seeds,
        "seed": seed,
        "max_records": max_records,
        "mode": mode.value if mode else None,
        "keep": keep,
    }
    run_proof(contract, given, json=json)


def run_proof(contract: Path, given: dict[str, Any], *, json: bool) -> None:
    """Prove a contract and tell what was found.

    Args:
        contract: The contract.
        given: Arguments of ``ProofSettings``.
        json: Print the proof as JSON to stdout, instead of a table.

    Raises:
        typer.Exit: 1 when it is not proved, and for errors.
    """
    with output.errors_as_exit_codes():
        from etlctl.orchestrator.proof import ProofSettings  # noqa: PLC0415

        proof = _found(contract, ProofSettings(**given))
        if json:
            output.json_data(proof.to_dict())
        else:
            _show(proof)
        if not proof.proven:
            raise typer.Exit(1)


def _found(contract: Path, settings: ProofSettings) -> Proof:
    from etlctl.orchestrator.proving import prove as prove_contract  # noqa: PLC0415

    with _ended_cleanly():
        return prove_contract(contract, settings, warn=output.warn, told=output.say)


@contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM remove what a proof has in its folder, and the processes it started."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(proof: Proof) -> None:
    columns = ("fault", "what it means", "killed at batch", "attempts", "lost", "doubled", "verdict")
    rows = [
        (
            one.fault,
            one.meaning,
            ", ".join(one.kills) or None,
            *((one.attempts, one.lost, one.doubled) if one.attempts else (None, None, None)),
            one.verdict,
        )
        for one in proof.trials
    ]
    output.table(columns, rows, right=columns[3:6], whole=columns[:1])
    for one in proof.trials:
        for example in one.examples:
            output.data(f"{one.fault}: {example}")
    for note in proof.notes:
        output.say(f"note: {note}")
    if proof.kept is not None:
        output.say(f"kept in {proof.kept}")
    elif not proof.proven:
        output.say(f"see for yourself what was left behind, with: --seed {proof.seed} --keep DIR")
    output.data(proof.summary)
