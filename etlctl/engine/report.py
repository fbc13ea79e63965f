"""What is told about a run when it is over: a JSON report in a file and a summary for the terminal."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from etlctl import __version__
from etlctl.errors import StateError
from etlctl.faults import fault
from etlctl.ids import is_safe_name, new_id
from etlctl.redact import Redactor
from etlctl.run import DeadLetter, RunResult, StepCounts
from etlctl.state.payload import mask, readable
from etlctl.state.records import RuleSummary, RunStart

REPORT_VERSION = 1
_EXAMPLES = 3


def report_path(state_dir: Path, run_id: str) -> Path:
    """Return where the report of a run is.

    Raises:
        StateError: The id could lead out of the folder.
    """
    if not is_safe_name(run_id):
        raise StateError(f"{run_id!r} cannot name a report file")
    return state_dir / "reports" / f"{run_id}.json"


def write_report(
    result: RunResult,
    dead_letters: Sequence[RuleSummary] = (),
    *,
    state_dir: Path,
    redactor: Redactor | None = None,
    start: RunStart | None = None,
) -> Path:
    """Write the report of a run; it appears whole or not at all, readable for its owner only.

    Args:
        result: How the run ended.
        dead_letters: Rejected records by rule, with examples (``Ledger.count_dead_letters(examples=3)``).
        state_dir: Folder of the state.
        redactor: Masks secrets.
        start: What was known when the run began: contract, mode, machine.

    Returns:
        The file.

    Raises:
        StateError: It cannot be written.
    """
    path = report_path(state_dir, result.run_id)
    result = replace(result, report=str(path))
    content = json.dumps(report(result, dead_letters, redactor=redactor, start=start), indent=2, ensure_ascii=False)
    # A lone surrogate becomes its JSON escape.
    _replace_file(path, (content + "\n").encode("utf-8", "backslashreplace"))
    return path


def report(
    result: RunResult,
    dead_letters: Sequence[RuleSummary] = (),
    *,
    redactor: Redactor | None = None,
    start: RunStart | None = None,
) -> dict[str, Any]:
    """Return the report of a run as JSON values, secrets masked."""
    redactor = redactor or Redactor()
    outcome = result.to_dict()
    steps = [{**step.to_dict(), "balanced": step.balanced} for step in result.steps]
    document = {
        "report_version": REPORT_VERSION,
        **outcome,
        "params": readable(mask(outcome["params"], redactor)),
        "contract_details": _contract_details(start),
        "balance": {"balanced": _missing(result) == 0, "missing": _missing(result), "equation": balance(result)},
        "steps": steps,
        "dead_letters": {
            "total": sum(one.count for one in dead_letters),
            "by_rule": [_rule(one, redactor) for one in dead_letters],
        },
        "records_per_second": _rate(result),
        "traceback": result.traceback,
        "versions": {"etlctl": __version__, "python": platform.python_version(), "platform": _machine()},
        "next": next_commands(result),
    }
    shown: dict[str, Any] = redactor.value(document)
    return shown


def balance(result: RunResult) -> str:
    """Return the account of a run as one line that must add up."""
    counts = result.counts
    loaded = counts.loaded + (result.would_load if result.dry_run else 0)
    right = [
        f"{loaded:,} {_loaded_word(result)}",
        f"{counts.filtered:,} filtered",
        f"{counts.rejected:,} rejected",
    ]
    if counts.deduplicated:
        right.append(f"{counts.deduplicated:,} deduplicated")
    missing = _missing(result)
    sign = "=" if missing == 0 else "≠"
    line = f"{counts.extracted:,} read + {counts.added:,} added {sign} {' + '.join(right)}"
    if missing:
        line += f"  ({abs(missing):,} records {'lost' if missing > 0 else 'too many'})"
    return line


def summary(result: RunResult, dead_letters: Sequence[RuleSummary] = ()) -> str:
    """Return the end-of-run summary: plain text for a terminal or a log.

    Args:
        result: How the run ended.
        dead_letters: Rejected records by rule, when they are at hand.
    """
    return "\n".join(_summary_lines(result, dead_letters))


def next_commands(result: RunResult) -> list[str]:
    """Return the commands worth typing after a run."""
    commands = [result.resume_command] if result.resume_command and not _fell_at_first(result) else []
    if result.counts.rejected:
        commands.append(f"etlctl dead-letters list --run {result.run_id}")
    commands.append(f"etlctl runs show {result.run_id}")
    return commands


def what_next(result: RunResult) -> str | None:
    """Return in words what to do about a run that did not finish; None when its error says it, or it finished."""
    if result.resume_command is None:
        return None
    if _fell_at_first(result):
        return "nothing was loaded: put right what is wrong, and run it again"
    return f"carry on with: {result.resume_command}"


def _fell_at_first(result: RunResult) -> bool:
    """Tell whether a run failed before its first batch: there is nothing to carry on with, and nothing to undo."""
    return not result.success and result.attempt == 1 and not result.batches and not result.half_sent


def step_table(steps: Sequence[StepCounts]) -> list[str]:
    """Return the steps of a run as aligned lines, headings first."""
    cells = [["step", "in", "added", "filtered", "rejected", "out", "seconds", "form"]]
    for step in steps:
        counts = (step.records_in, step.added, step.filtered, step.rejected, step.records_out)
        seconds = f"{step.seconds:.2f}" if step.seconds else "-"
        cells.append([step.name, *(f"{count:,}" for count in counts), seconds, step.form or "-"])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for first, *numbers, form in cells:
        aligned = [text.rjust(width) for text, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *aligned, form]).rstrip())
    return lines


def _summary_lines(result: RunResult, dead_letters: Sequence[RuleSummary]) -> Iterator[str]:
    yield _headline(result)
    yield ""
    yield f"  {balance(result)}"
    if result.steps:
        yield ""
        yield from (f"  {line}" for line in step_table(result.steps))
    yield ""
    yield from _labelled("wrote", _destinations(result))
    yield from _labelled("rejected", [f"{one.count:,} × {one.rule}" for one in dead_letters])
    yield from _labelled("warned", [str(violation) for violation in result.violations])
    yield from _labelled("checks", [str(check) for check in result.checks])
    yield from _labelled("report", [result.report] if result.report else [])
    yield from _labelled("next", next_commands(result))


def _headline(result: RunResult) -> str:
    if result.reused:
        return f"{result.contract}: already done by {result.run_id}, nothing ran; its result was {result.status}"
    status = f"{result.status} ({result.error_type})" if result.error_type else str(result.status)
    details = [f"{result.batches:,} {'batch' if result.batches == 1 else 'batches'}"]
    if (rate := _rate(result)) is not None:
        details.append(f"{rate:,.0f} records/s")
    if result.peak_memory_mb:
        details.append(f"peak memory {result.peak_memory_mb:,.0f} MiB")
    dry = "dry run of " if result.dry_run else ""
    return f"{dry}{result.contract}: {status} in {result.duration_seconds:.2f} s ({', '.join(details)})"


def _labelled(label: str, texts: Sequence[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"  {label if number == 0 else '':<8}  {text}"


def _destinations(result: RunResult) -> Sequence[str]:
    if result.destinations and result.by_destination:
        return [f"{one.name}: {one.records:,} records in {one.place or 'no place'}" for one in result.by_destination]
    if result.destinations:
        return result.destinations
    return ["nothing: this was a dry run" if result.dry_run else "nothing was published"]


def _loaded_word(result: RunResult) -> str:
    if result.dry_run:
        return "to load"
    return "loaded" if result.success or result.destinations else "ready, not published"


def _machine() -> str:
    # platform.platform() also searches the interpreter's file for its C library, which takes milliseconds.
    return f"{platform.system()}-{platform.release()}-{platform.machine()}"


def _missing(result: RunResult) -> int:
    return result.counts.missing - (result.would_load if result.dry_run else 0)


def _rate(result: RunResult) -> float | None:
    seconds = result.duration_seconds
    return round(result.counts.extracted / seconds, 1) if seconds > 0 else None


def _contract_details(start: RunStart | None) -> dict[str, Any] | None:
    if start is None:
        return None
    return {
        "path": start.contract_path,
        "version": start.contract_version,
        "hash": dict(start.contract_hash),
        "stream": start.stream,
        "mode": str(start.mode),
        "batch_size": start.batch_size,
        "trigger": start.trigger,
        "host": start.host,
        "pid": start.pid,
    }


def _rule(one: RuleSummary, redactor: Redactor) -> dict[str, Any]:
    examples = [_example(letter, redactor) for letter in one.examples[:_EXAMPLES]]
    return {"rule": one.rule, "stage": one.stage, "count": one.count, "examples": examples}


def _example(letter: DeadLetter, redactor: Redactor) -> dict[str, Any]:
    return {
        "id": letter.id,
        "location": letter.location,
        "step": letter.step,
        "field": letter.field,
        "message": letter.message,
        "raw": readable(mask(letter.raw, redactor)),
    }


def _replace_file(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{new_id('tmp')}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fault("report.write")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(
            f"the run report {path} cannot be written: {error.strerror or error}",
            help="the run itself is not affected and is in the ledger; check space and rights of that folder",
        ) from error
