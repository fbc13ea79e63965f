"""The command tree. Heavy imports happen inside the commands, so that ``--help`` stays quick."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from etlctl.cli import (
    checkpoints,
    components,
    db,
    dead_letters,
    doctor,
    explain,
    init,
    preview,
    prove,
    run,
    runs,
    schema,
    validate,
    version,
)

# Objects made between two searches for cycles: importing makes some 80,000 that stay, and a run makes no cycles.
_COLLECT_AFTER = 50_000

_EPILOG = """
Examples:  etlctl init shop  ·  etlctl validate contracts/  ·  etlctl run contracts/demo  ·  etlctl dead-letters list

Exit codes: 0 good · 1 run failed · 2 usage · 3 contract invalid · 4 partial (records in the dead letters) ·
5 quality budget exceeded · 6 source unavailable · 7 state problem · 75 busy · 130/143 signals
"""

app = typer.Typer(
    name="etlctl",
    help="Declarative data pipelines: contracts in YAML, checked before they run, streamed, balanced.",
    epilog=_EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time of --help
)


@app.callback()
def root(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Declarative data pipelines: contracts in YAML, checked before they run, streamed, balanced."""
    if debug:
        os.environ["ETLCTL_DEBUG"] = "1"


app.command("init")(init.init)
app.command("validate")(validate.validate)
app.command("preview")(preview.preview)
app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("prove")(prove.prove)
app.add_typer(runs.app, name="runs")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(checkpoints.app, name="checkpoints")
app.command("components")(components.components)
app.command("schema")(schema.schema)
app.command("reference")(schema.reference)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.add_typer(db.app, name="db")
app.command("version")(version.version)


def main() -> None:
    """Run the command line; the output is UTF-8 wherever it goes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (stream.encoding or "").lower() not in {"utf-8", "utf8"}:
            reconfigure(encoding="utf-8", errors="backslashreplace")
    gc.set_threshold(_COLLECT_AFTER, 10, 10)
    try:
        app()
    finally:
        gc.freeze()  # the process ends, and looking for cycles in all that was imported would take a tenth of a second
