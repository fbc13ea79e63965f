"""``etlctl run --watch``: preview on every save, and show what is different from the last time; never loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer

from etlctl.cli import output
from etlctl.cli.values import value_text
from etlctl.contract import render
from etlctl.contract.compile import check_contract
from etlctl.diagnostics import Diagnostic, Severity
from etlctl.orchestrator.case_rows import compare_rows
from etlctl.orchestrator.field_changes import exactly
from etlctl.orchestrator.watched_files import Fingerprint, changed_files, fingerprint, watched_files

_POLL = 0.2
"""Seconds between two looks at the files."""
_LOOK_FOR_NEW = 5
"""Every so many looks also look for new files."""
_SHOWN = 10
_COUNTS = ("extracted", "filtered", "rejected")


@dataclass(slots=True)
class _Seen:
    """What one preview showed.

    Attributes:
        diagnostics: What is wrong with the contract.
        failure: Why the preview failed, as it says itself.
        records: The records that would be loaded.
        rejected: Those that would be dead letters.
        counts: The account.
    """

    diagnostics: Sequence[Diagnostic] = ()
    failure: str | None = None
    records: Sequence[Mapping[str, Any]] = ()
    rejected: Sequence[Mapping[str, Any]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        return bool(self.failure) or any(one.severity is Severity.error for one in self.diagnostics)


def watch(contract: Path, params: Mapping[str, Any], run_date: str | None, sample: int) -> NoReturn:
    """Preview a contract again and again, whenever one of its files is saved, until Ctrl-C.

    Each preview is a process of its own: what Python has imported once, it would not read again, and code that does
    not come back can be ended.

    Args:
        contract: The contract.
        params: Its parameters.
        run_date: The date the run would be for.
        sample: Source records to read each time.

    Raises:
        typer.Exit: 130 after Ctrl-C, 143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminated)
    watcher = _Watcher(contract, dict(params) | ({"run_date": run_date} if run_date else {}), sample)
    try:
        watcher.run()
    except KeyboardInterrupt:
        output.say("stopped watching")
        raise typer.Exit(128 + signal.SIGINT) from None


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise typer.Exit(128 + signal.SIGTERM)


class _Watcher:
    """Looks, shows, waits."""

    def __init__(self, contract: Path, params: Mapping[str, Any], sample: int) -> None:
        self._contract = contract
        self._params = params
        self._sample = sample
        self._last_good: _Seen | None = None
        self._problems: dict[str, Diagnostic] = {}

    def run(self) -> NoReturn:
        """Go on for ever."""
        output.say(f"watching {self._contract.as_posix()}: previews only, nothing is loaded; Ctrl-C ends it")
        changed: Sequence[Path] = ()
        while True:
            checked = check_contract(self._contract, params=self._params)
            before = fingerprint(watched_files(self._contract, checked))
            errors = [one for one in checked.diagnostics if one.severity is Severity.error]
            seen = _Seen(checked.diagnostics) if errors else self._preview(before, checked.diagnostics)
            if seen is not None:
                self._show(seen, changed)
            changed = self._wait(before)

    def _wait(self, before: Fingerprint) -> list[Path]:
        """Wait until a file was saved, removed, or has come into the contract's folder."""
        known = frozenset(before)
        for number in count(1):
            time.sleep(_POLL)
            changed = changed_files(before, fingerprint(known))
            if not changed and number % _LOOK_FOR_NEW == 0:
                checked = check_contract(self._contract, params=self._params)
                changed = changed_files(before, fingerprint(watched_files(self._contract, checked) | known))
            if changed:
                return changed
        raise AssertionError

    # Previewing

    def _preview(self, before: Fingerprint, diagnostics: Sequence[Diagnostic]) -> _Seen | None:
        """Preview in a process of its own; None when a file was saved meanwhile, and the result is old."""
        number = str(self._sample)
        command = [sys.executable, "-m", "etlctl", "preview", str(self._contract), "--json"]
        command += ["--sample", number, "--limit", number]
        command += [part for name, value in self._params.items() for part in ("-p", f"{name}={value}")]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as talk:
            child = subprocess.Popen(  # noqa: S603 - this very program
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=talk, start_new_session=True
            )
            try:
                while child.poll() is None:
                    time.sleep(_POLL / 4)
                    if changed_files(before, fingerprint(frozenset(before))):
                        return None
            finally:
                _end(child)
            for stream in (out, talk):
                stream.seek(0)
            return _seen(out.read(), talk.read().decode("utf-8", "replace"), diagnostics)

    # Showing

    def _show(self, seen: _Seen, changed: Sequence[Path]) -> None:
        if changed:
            names = ", ".join(path.name for path in changed[:5]) + (" …" if len(changed) > 5 else "")
            output.data(f"\n-- {time.strftime('%H:%M:%S')}  {names} changed")
        self._show_problems(seen)
        if seen.broken:
            if seen.failure:
                output.data(seen.failure.rstrip())
            output.data("the contract is broken: waiting for the next save")
        elif self._last_good is None:
            _show_all(seen)
            self._last_good = seen
        else:
            _show_difference(self._last_good, seen)
            self._last_good = seen
        sys.stdout.flush()

    def _show_problems(self, seen: _Seen) -> None:
        """Show the problems that are new, and name those that are gone."""
        now = {f"{one.file} {one.code} {one.message}": one for one in seen.diagnostics}
        for text, one in self._problems.items():
            if text not in now:
                output.data(f"fixed: {one.code} {one.message}")
        new = [one for text, one in now.items() if text not in self._problems]
        if new:
            output.data(render.full(new))
        left = len(now) - len(new)
        if left:
            output.data(f"{left} problem{'s' if left > 1 else ''} as before")
        self._problems = now


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a preview that is not wanted any more, with everything it has started."""
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
    child.wait()


def _seen(out: bytes, talk: str, diagnostics: Sequence[Diagnostic]) -> _Seen:
    try:
        found = json.loads(out)
    except ValueError:
        return _Seen(diagnostics, failure=talk or "the preview ended without a word")
    failure = None
    if not found["result"]["success"]:
        failure = f"error: {found['result'].get('error')}"
    return _Seen(diagnostics, failure, found["records"], found["rejected"], found["result"]["counts"])


def _show_all(seen: _Seen) -> None:
    for record in seen.records[:_SHOWN]:
        output.data("  " + _fields(record))
    if len(seen.records) > _SHOWN:
        output.data(f"  … and {len(seen.records) - _SHOWN:,} more records")
    for one in seen.rejected[:_SHOWN]:
        output.data(f"  rejected {_rejection(one)}")
    output.data(_counts(seen))


def _counts(seen: _Seen) -> str:
    parts = [f"{seen.counts.get(name, 0):,} {name}" for name in _COUNTS]
    return f"{len(seen.records):,} records would be loaded; {', '.join(parts)}"


def _show_difference(before: _Seen, seen: _Seen) -> None:
    rows = _row_lines(before.records, seen.records)
    gone, new = _rejections(before), _rejections(seen)
    lines = [*rows, *(f"  no longer rejected: {text}" for text in gone if text not in new)]
    lines += [f"  now rejected: {text}" for text in new if text not in gone]
    for line in lines[: 3 * _SHOWN]:
        output.data(line)
    if len(lines) > 3 * _SHOWN:
        output.data(f"  … and {len(lines) - 3 * _SHOWN:,} more lines")
    if not lines:
        output.data("no difference in records and rejections")
    was, now = _counts(before), _counts(seen)
    output.data(f"{now}" + (f"  (before: {was})" if was != now else ""))


def _row_lines(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    if len(before) == len(after) and all(map(exactly, before, after)):
        return lines
    for row in compare_rows(before, after).differences:
        if row.actual is None:
            lines.append(f"  - record {(row.expected or 0) + 1}: {_fields(row.record)}")
        elif row.expected is None:
            lines.append(f"  + record {row.actual + 1}: {_fields(row.record)}")
        else:
            lines.append(f"  ~ record {row.actual + 1}")
            lines += [
                f"      {change.field}: {value_text(change.before)} → {value_text(change.after)}"
                for change in row.changes
            ]
    return lines


def _rejections(seen: _Seen) -> list[str]:
    return [_rejection(one) for one in seen.rejected]


def _rejection(one: Mapping[str, Any]) -> str:
    return f"{one['location'] or one['step']}: {one['message']} [{one['rule']}]"


def _fields(record: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in record.items())
