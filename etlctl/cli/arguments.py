"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

ContractPath = Annotated[
    Path, typer.Argument(metavar="CONTRACT", help="A contract: its folder, or a pipeline.yaml.", show_default=False)
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the contract; repeat for more."),
]
CheckpointDir = Annotated[
    Path | None, typer.Option("--checkpoint-dir", help="Keep checkpoints as JSON files in this folder.")
]
AcceptChanges = Annotated[bool, typer.Option("--accept-changes", help="Resume although the contract was edited since.")]
RunDate = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The date the run is for (${run_date}).", show_default=False),
]
Record = Annotated[
    Path | None, typer.Option("--record", metavar="FILE", help="Keep every HTTP answer in this file, for --replay.")
]
Replay = Annotated[
    Path | None,
    typer.Option("--replay", metavar="FILE", help="Answer HTTP requests from a recorded file; no network is used."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary, only errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


def cassette(record: Path | None, replay: Path | None) -> dict[str, Path | None]:
    """Return the options of recorded HTTP answers.

    Raises:
        typer.BadParameter: Both are given.
    """
    if record is not None and replay is not None:
        raise typer.BadParameter("an answer cannot be recorded and come from a record; leave out --record or --replay")
    return {"record": record, "replay": replay}


def parse_params(given: Sequence[str] | None) -> dict[str, Any]:
    """Turn ``NAME=VALUE`` arguments into a mapping; values stay text, the contract's types apply later.

    Raises:
        typer.BadParameter: An argument has no ``=``, no name, or a name is given twice.
    """
    params: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--param")
        if name in params:
            raise typer.BadParameter(f"parameter {name!r} is given twice", param_hint="--param")
        params[name] = value
    return params
