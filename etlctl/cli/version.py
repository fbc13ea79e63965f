"""``etlctl version``."""

from __future__ import annotations

from typing import Annotated

import typer

from etlctl import __version__
from etlctl.cli import output


def version(*, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the version of etlctl and of what it runs on.

    Example: etlctl version
    """
    import platform  # noqa: PLC0415
    from importlib.metadata import version as installed  # noqa: PLC0415

    found = {
        "etlctl": __version__,
        "python": platform.python_version(),
        "polars": installed("polars"),
        "platform": platform.platform(),
    }
    if json:
        output.json_data(found)
    else:
        output.data(f"etlctl {found['etlctl']} (Python {found['python']}, Polars {found['polars']})")
