"""Compare etlctl with the same job written by hand, in one session, and judge the ratios against their limits.

    python -m benchmarks.run                    all checks, 1M and 5M rows, five rounds
    python -m benchmarks.run parquet jsonl      some checks
    python -m benchmarks.run --install-dlt      with dlt, in an environment of its own under benchmarks/out
    python -m benchmarks.run --save             write benchmarks/results.json and the table in README.md

Every figure is a whole process, start and imports included, as a user of the command line sees it. Competitors take
turns; the median counts. Before any figure is believed, the results of all competitors are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import api, jobs, report
from benchmarks.measure import Command, CommandFailed, clear, run_once, take_turns


@dataclass(frozen=True)
class Session:
    """What the person asked for.

    Attributes:
        rounds: Runs of each competitor.
        rows: Rows of the ordinary input; the memory check also takes five times as many.
        dlt: Interpreter that has dlt, if there is one.
    """

    rounds: int
    rows: int
    dlt: Path | None


def parquet(session: Session) -> list[report.Finding]:
    """CSV, seven operations, Parquet: against Polars and dlt."""
    source = jobs.data(session.rows, "csv")
    ours, plain = jobs.etlctl("parquet", source, "out.parquet"), jobs.polars("Polars", source, "out.parquet")
    theirs = jobs.dlt("dlt", session.dlt, source) if session.dlt else None
    rivals = [ours, plain, *([theirs] if theirs else [])]
    take_turns(rivals, session.rounds)
    jobs.require_same_result(*rivals)
    title = "CSV → 7 operations → Parquet"
    found = [report.Finding.at_most(f"{title}, against streaming Polars", ours, plain, limit=1.7)]
    if theirs:
        return [*found, report.Finding.faster(f"{title}, against dlt's Arrow path", ours, theirs, limit=4)]
    print("dlt is not installed: its check is left out (--install-dlt)", file=sys.stderr)
    return found


def jsonl(session: Session) -> list[report.Finding]:
    """CSV, seven operations, JSONL: against Polars."""
    source = jobs.data(session.rows, "csv")
    ours, plain = jobs.etlctl("jsonl", source, "out.jsonl"), jobs.polars("Polars", source, "out.jsonl")
    take_turns([ours, plain], session.rounds)
    jobs.require_same_result(ours, plain)
    return [report.Finding.at_most("CSV → 7 operations → JSONL, against streaming Polars", ours, plain, limit=1.6)]


def postgres(session: Session) -> list[report.Finding]:
    """CSV, seven operations, PostgreSQL with tokens: against psql copying a file that is ready."""
    from benchmarks.postgres import server

    with server(jobs.data(session.rows, "csv")) as place:
        ours, plain = place.etlctl("postgres", "ours"), place.copy("psql COPY", "theirs")
        ours.prepare, plain.prepare = partial(place.empty, "ours"), partial(place.empty, "theirs")
        take_turns([ours, plain], session.rounds)
        place.require_same("ours", "theirs")
    return [report.Finding.at_most("CSV → 7 operations → PostgreSQL, against psql COPY", ours, plain, limit=2.3)]


def upsert(session: Session) -> list[report.Finding]:
    """CSV, seven operations, upsert of rows that are all there, changed and unchanged: against SQL by hand."""
    from benchmarks.postgres import server

    title, findings = "CSV → 7 operations → PostgreSQL upsert", []
    with server(jobs.data(session.rows, "csv")) as place:
        options = "write_method: upsert\nprimary_key: id\n"
        for what, delay, limit in (("all rows change", 1, 1.35), ("no row changes", 0, 1.0)):
            ours = place.etlctl(f"upsert-{delay}", "ours", options)
            plain = place.upsert("psql COPY + ON CONFLICT", "theirs")
            ours.prepare, plain.prepare = partial(place.full, "ours", delay), partial(place.full, "theirs", delay)
            take_turns([ours, plain], session.rounds)
            place.require_same("ours", "theirs")
            findings.append(report.Finding.at_most(f"{title}, {what}, against psql by hand", ours, plain, limit=limit))
    return findings


SQLITE = "type: sqlite\ntable: flights\ncreate_table: true"


def sqlite(session: Session) -> list[report.Finding]:
    """CSV, seven operations, SQLite with tokens and checkpoints: against a loop without any of it, and dlt."""
    source = jobs.data(session.rows, "csv")
    ours = jobs.etlctl("sqlite", source, "out.db", load=SQLITE)
    loop = jobs.sqlite_loop("Polars + executemany", source, "out.db")
    take_turns([ours, loop], session.rounds)
    jobs.require_same_result(ours, loop)
    title = "CSV → 7 operations → SQLite, against Polars + executemany"
    return [report.Finding.at_most(title, ours, loop, limit=1.2)]


def from_postgres(session: Session) -> list[report.Finding]:
    """A table of PostgreSQL into Parquet: against Polars with connectorx, and at five times the rows."""
    from benchmarks import from_postgres as reading
    from benchmarks.postgres import server

    title, findings = "PostgreSQL → Parquet", []
    with server(jobs.data(1_000, "csv")) as place:
        reading.fill(place, session.rows)
        ours, plain = reading.etlctl(place, "from-postgres", "flights"), reading.connectorx(place)
        take_turns([ours, *([plain] if plain else [])], session.rounds)
        if plain:
            reading.require_same(ours, plain)
            findings.append(report.Finding.at_most(f"{title}, against Polars + connectorx", ours, plain, limit=1.15))
        many = reading.etlctl(place, "from-postgres-5x", "many")
        take_turns([many], max(1, session.rounds // 2))
    return [*findings, report.Finding.memory(f"{title}, peak memory at five times the rows", many, ours, limit=1.25)]


def http(session: Session) -> list[report.Finding]:
    """Pages of an API into SQLite: against a loop by hand with eight requests in flight, and dlt's REST source."""
    source, pages = jobs.data(session.rows, "csv"), max(1, session.rows // 1000)
    with api.serving(source, pages) as url:
        ours, hand = api.etlctl("http", url, "out.db"), api.by_hand("aiohttp + executemany", url, "http.db")
        theirs = api.dlt("dlt", session.dlt, url) if session.dlt else None
        take_turns([ours, hand], session.rounds)
        if theirs is not None:
            take_turns([theirs], max(1, session.rounds // 3))
        api.require_same_flights(*(one for one in (ours, hand, theirs) if one is not None))
    title = f"HTTP, {pages:,} pages of 500, 5 ms → SQLite"
    found = [report.Finding.at_most(f"{title}, against aiohttp + executemany", ours, hand, limit=2.2)]
    if theirs is None:
        print("dlt is not installed: its check is left out (--install-dlt)", file=sys.stderr)
        return found
    return [*found, report.Finding.faster(f"{title}, against dlt's REST source", ours, theirs, limit=10)]


def checkpoints(session: Session) -> list[report.Finding]:
    """The price of a checkpoint for each batch."""
    source = jobs.data(session.rows, "csv")
    findings = []
    for kind, load in (("out.db", SQLITE), ("out.jsonl", "type: file")):
        name = kind.partition(".")[2]
        none = jobs.etlctl(f"{name}-none", source, kind, load=load, extract="checkpoint: {enabled: false}\n")
        usual = jobs.etlctl(f"{name}-checkpoints", source, kind, load=load)
        take_turns([none, usual], session.rounds)
        findings.append(report.Finding.at_most(f"Checkpoints on ({name}), against none", usual, none, limit=1.1))
    return findings


def memory(session: Session) -> list[report.Finding]:
    """Peak memory at five times the rows."""
    small = jobs.etlctl("memory-1x", jobs.data(session.rows, "csv"), "out.parquet")
    large = jobs.etlctl("memory-5x", jobs.data(5 * session.rows, "csv"), "out.parquet")
    take_turns([small, large], max(1, session.rounds // 2))
    return [report.Finding.memory("Peak memory at five times the rows", large, small, limit=1.25)]


def batches(session: Session) -> list[report.Finding]:
    """The price of small batches."""
    source = jobs.data(session.rows, "csv")
    usual = jobs.etlctl("batches-default", source, "out.parquet")
    small = jobs.etlctl("batches-1000", source, "out.parquet", batch_size=1000)
    take_turns([usual, small], session.rounds)
    jobs.require_same_result(usual, small)
    return [report.Finding.at_most("batch_size: 1000, against the default", small, usual, limit=2)]


def rows(session: Session) -> list[report.Finding]:
    """Records per second through the row form."""
    source = jobs.data(session.rows, "jsonl")
    ours = jobs.etlctl("rows", source, "out.jsonl")
    take_turns([ours], session.rounds)
    return [report.Finding.rate("JSONL → 7 operations → JSONL", ours, session.rows, limit=150_000)]


def function(session: Session) -> list[report.Finding]:
    """Records per second through a Python function."""
    source = jobs.data(session.rows, "jsonl", slim=True)
    transform = "custom_function: {module: bench_function, function: judge, mode: record}\n"
    ours = jobs.etlctl("function", source, "out.jsonl", transform=transform)
    take_turns([ours], session.rounds)
    title = "JSONL → Python function per record → JSONL"
    return [report.Finding.rate(title, ours, session.rows, limit=150_000)]


def columnar(session: Session) -> list[report.Finding]:
    """One JSONata expression on columns, against the same one record by record: the time of the step itself."""
    source = jobs.data(session.rows, "parquet")
    columns = jobs.etlctl("columnar", source, "out.parquet", transform=jobs.JSONATA)
    records = jobs.etlctl("columnar-rows", source, "out.parquet", transform=jobs.JSONATA + jobs.ON_ROWS)
    take_turns([columns, records], max(1, session.rounds // 2))
    jobs.require_same_result(columns, records)
    title = "JSONata on columns, against the same record by record (the step alone)"
    ours, theirs = (jobs.step_seconds(one, "jsonata") for one in (columns, records))
    return [report.Finding(title, f"{ours:.2f} s", f"{theirs:.2f} s", round(theirs / ours, 1), 10, least=True)]


def jsonata(session: Session) -> list[report.Finding]:
    """A JSONata reshape of nested orders through the whole engine, against a function by hand and jsonata-python."""
    count = max(session.rows // 2, 1000)
    source, few = jobs.orders(count), max(count // 25, 100)
    transform = f"jsonata:\n  expression: {json.dumps(jobs.RESHAPE)}\n"
    ours = jobs.etlctl("jsonata", source, "out.jsonl", transform=transform)
    hand, theirs = jobs.orders_peer("function", source), jobs.orders_peer("jsonata-python", source, few)
    take_turns([ours, hand, theirs], session.rounds)
    jobs.require_same_orders(ours, hand)
    title = "JSONL → JSONata reshape of nested orders → JSONL"
    return [
        report.Finding.at_most(f"{title}, against a Python function with orjson", ours, hand, limit=1.3),
        report.Finding.faster(f"{title}, per record against jsonata-python", ours, theirs, limit=25, scale=count / few),
    ]


def workers(session: Session) -> list[report.Finding]:
    """Two worker processes for a function that takes its time; needs two idle cores."""
    source = jobs.data(max(session.rows // 10, 1000), "jsonl", slim=True)
    transform = "custom_function: {module: bench_function, function: labour, mode: record}\n"
    alone = jobs.etlctl("workers-none", source, "out.jsonl", transform=transform)
    two = jobs.etlctl("workers-two", source, "out.jsonl", transform=f"workers: 2\n{transform}")
    take_turns([alone, two], session.rounds)
    if len({command.result.read_bytes() for command in (alone, two) if command.result is not None}) > 1:
        raise CommandFailed("the results with and without workers differ")
    title = "workers: 2 for a function of 100 µs a record, against none"
    return [report.Finding.faster(title, two, alone, limit=1.6)]


def startup(session: Session) -> list[report.Finding]:
    """Time until the help is there."""
    ours = Command("etlctl --help", [sys.executable, "-m", "etlctl", "--help"], jobs.HERE.parent)
    run_once(ours)
    take_turns([ours], 2 * session.rounds)
    return [report.Finding.duration("etlctl --help, warm", ours, limit_ms=150)]


CHECKS: dict[str, Callable[[Session], list[report.Finding]]] = {
    check.__name__: check
    for check in (
        parquet,
        jsonl,
        sqlite,
        http,
        postgres,
        upsert,
        from_postgres,
        checkpoints,
        memory,
        batches,
        rows,
        jsonata,
        function,
        workers,
        columnar,
        startup,
    )
}


def machine() -> str:
    """Say what the figures were measured on, in one line."""
    today = datetime.now(UTC).date()
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}, {today}"


def warn_when_busy() -> None:
    """Say when something else is running: the figures of a busy machine should not be kept."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > cores / 2:
        print(f"warning: the load is {load:.1f} on {cores} cores; do not keep these figures", file=sys.stderr)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"some of {', '.join(CHECKS)}; all when none")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each competitor (%(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the ordinary input (%(default)s)")
    parser.add_argument("--dlt-python", type=Path, help="an interpreter that has dlt[parquet]")
    parser.add_argument("--install-dlt", action="store_true", help="install dlt[parquet] under benchmarks/out first")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--save", action="store_true", help="write results.json and the README's table")
    parsed = parser.parse_args(arguments)
    unknown = set(parsed.checks) - set(CHECKS)
    if unknown:
        parser.error(f"unknown check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; exit code 1 when a limit is missed."""
    asked = parse(arguments)
    dlt = jobs.dlt_python(asked.dlt_python, install=asked.install_dlt)
    session = Session(rounds=asked.rounds, rows=asked.rows, dlt=dlt)
    findings: list[report.Finding] = []
    warn_when_busy()
    try:
        for name in asked.checks or CHECKS:
            print(f"running {name}", file=sys.stderr)
            findings += CHECKS[name](session)
    except CommandFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    results = report.Results(machine=machine(), rows=session.rows, rounds=session.rounds, findings=findings)
    if asked.save:
        report.save(results)
    print(json.dumps(results.to_dict(), indent=2) if asked.json else results.text())
    clear(jobs.WORKSPACE)
    return 0 if all(finding.passed for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
