"""Findings of the benchmarks as values, as a table for the terminal, and as the table in the README.

``python -m benchmarks.report`` checks that the README shows the committed results.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Command

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


@dataclass(frozen=True)
class Finding:
    """One judged figure.

    Attributes:
        title: What was compared.
        ours: etlctl's figure, with its unit.
        reference: The figure it is judged by, with its unit; empty for an absolute limit.
        figure: What is judged, as a number.
        limit: The limit, as a number.
        unit: Unit of figure and limit: ``×`` for a ratio.
        least: The figure must be at least the limit, not at most.
    """

    title: str
    ours: str
    reference: str
    figure: float
    limit: float
    unit: str = "×"
    least: bool = False

    @property
    def passed(self) -> bool:
        """Tell whether the limit is kept."""
        return self.figure >= self.limit if self.least else self.figure <= self.limit

    @property
    def shown(self) -> str:
        """The figure for people."""
        return number(self.figure, self.unit)

    @property
    def bound(self) -> str:
        """The limit for people."""
        return f"{'≥' if self.least else '≤'} {number(self.limit, self.unit)}"

    @classmethod
    def at_most(cls, title: str, ours: Command, reference: Command, *, limit: float) -> Finding:
        """Judge wall time as a multiple of the reference's."""
        ratio = ours.median_seconds / reference.median_seconds
        return cls(title, seconds(ours), seconds(reference), round(ratio, 2), limit)

    @classmethod
    def faster(cls, title: str, ours: Command, reference: Command, *, limit: float, scale: float = 1) -> Finding:
        """Judge how many times faster than the reference we are, which did one ``scale``-th of the work."""
        ratio = scale * reference.median_seconds / ours.median_seconds
        return cls(title, seconds(ours), seconds(reference), round(ratio, 2), limit, least=True)

    @classmethod
    def memory(cls, title: str, large: Command, small: Command, *, limit: float) -> Finding:
        """Judge peak memory as a multiple of the smaller job's."""
        ratio = round(large.peak_mb / small.peak_mb, 2)
        return cls(title, f"{large.peak_mb:.0f} MiB", f"{small.peak_mb:.0f} MiB", ratio, limit)

    @classmethod
    def rate(cls, title: str, ours: Command, records: int, *, limit: float) -> Finding:
        """Judge records per second, end to end."""
        return cls(title, seconds(ours), "", round(records / ours.median_seconds), limit, unit="records/s", least=True)

    @classmethod
    def duration(cls, title: str, ours: Command, *, limit_ms: float) -> Finding:
        """Judge wall time in milliseconds."""
        return cls(title, seconds(ours), "", round(1000 * ours.median_seconds), limit_ms, unit="ms")


def number(value: float, unit: str) -> str:
    """Write a figure with its unit."""
    return f"{value:g} ×" if unit == "×" else f"{value:,.0f} {unit}"


def seconds(command: Command) -> str:
    """Write a command's median wall time."""
    return f"{command.median_seconds:.2f} s"


@dataclass(frozen=True)
class Results:
    """All findings of a session, and what they were measured on."""

    machine: str
    rows: int
    rounds: int
    findings: list[Finding]

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON values, verdicts included."""
        found = [{**asdict(finding), "passed": finding.passed} for finding in self.findings]
        return {"machine": self.machine, "rows": self.rows, "rounds": self.rounds, "findings": found}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Results:
        """Read what ``to_dict`` wrote."""
        found = [Finding(**{k: v for k, v in item.items() if k != "passed"}) for item in value["findings"]]
        return cls(value["machine"], value["rows"], value["rounds"], found)

    def text(self) -> str:
        """Return the table for a terminal."""
        heads = ("check", "etlctl", "reference", "figure", "limit", "")
        lines = [
            (f.title, f.ours, f.reference, f.shown, f.bound, "pass" if f.passed else "FAIL") for f in self.findings
        ]
        widths = [max(len(line[column]) for line in (heads, *lines)) for column in range(len(heads))]
        shown = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in (heads, *lines)
        )
        return "\n".join([*shown, "", f"{self.rows:,} rows, median of {self.rounds}, {self.machine}"])

    def markdown(self) -> str:
        """Return the table for the README."""
        lines = [f"{self.rows:,} rows of 12 columns, whole processes, median of {self.rounds} ({self.machine}).", ""]
        lines += ["| | etlctl | reference | | promise |", "|---|--:|--:|--:|--:|"]
        lines += [f"| {f.title} | {f.ours} | {f.reference} | {f.shown} | {f.bound} |" for f in self.findings]
        return "\n".join(lines)


def with_table(text: str, results: Results) -> str:
    """Return the README with the table of these results."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{results.markdown()}\n{END}{after}"


def save(results: Results) -> None:
    """Write ``results.json`` and the README's table."""
    RESULTS.write_text(json.dumps(results.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), results), encoding="utf-8", newline="\n")


def main() -> int:
    """Tell whether the README shows what ``results.json`` says; exit code 1 when it does not."""
    results = Results.from_dict(json.loads(RESULTS.read_text(encoding="utf-8")))
    shown = README.read_text(encoding="utf-8")
    if with_table(shown, results) == shown:
        return 0
    print("the README's table of benchmarks is not the one of benchmarks/results.json", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
