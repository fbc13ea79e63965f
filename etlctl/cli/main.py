"""The command tree. A command line loads the one command it names; heavy imports happen inside the commands."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from etlctl.kit.user_output import keep_stdout

# Objects made between two searches for cycles: importing makes some 150,000 that stay, and a run makes no cycles.
_COLLECT_AFTER = 200_000

_EPILOG = """
Examples:  etlctl init shop  ·  etlctl validate contracts/  ·  etlctl run contracts/demo  ·  etlctl dead-letters list

Exit codes: 0 good · 1 run failed · 2 usage · 3 contract invalid · 4 partial (records in the dead letters) ·
5 quality budget exceeded · 6 source unavailable · 7 state problem · 75 busy · 130/143 signals
"""

COMMANDS = {
    "init": "init:init",
    "validate": "validate:validate",
    "preview": "preview:preview",
    "plan": "plan:plan",
    "test": "cases:cases",
    "run": "run:run",
    "resume": "run:resume",
    "prove": "prove:prove",
    "runs": "runs:app",
    "dead-letters": "dead_letters:app",
    "checkpoints": "checkpoints:app",
    "cursor": "cursor:app",
    "backfill": "backfill:backfill",
    "components": "components:components",
    "schema": "schema:schema",
    "reference": "schema:reference",
    "explain": "explain:explain",
    "doctor": "doctor:doctor",
    "db": "db:app",
    "version": "version:version",
}
"""Every command, in the order of the help, with the module in this package and the name in it."""


def root(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Declarative data pipelines: contracts in YAML, checked before they run, streamed, balanced."""
    if debug:
        os.environ["ETLCTL_DEBUG"] = "1"


def command_tree(only: str | None = None) -> typer.Typer:
    """Return the command line.

    Args:
        only: Load just this command; None: all of them.
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
    app.callback()(root)
    for name in COMMANDS if only is None else (only,):
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"etlctl.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _named_command() -> str | None:
    """Return the command that the command line names, when just that one is needed."""
    words = sys.argv[1:]
    if words[:1] == ["--debug"]:
        words = words[1:]
    completing = any(name.endswith("_COMPLETE") for name in os.environ)
    return words[0] if words and words[0] in COMMANDS and not completing else None


def main() -> None:
    """Run the command line; the output is UTF-8 wherever it goes."""
    keep_stdout()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (stream.encoding or "").lower() not in {"utf-8", "utf8"}:
            reconfigure(encoding="utf-8", errors="backslashreplace")
    gc.set_threshold(_COLLECT_AFTER, 10, 10)
    try:
        command_tree(_named_command())()
    finally:
        gc.freeze()  # the process ends, and looking for cycles in all that was imported would take a tenth of a second
