"""Asking for help loads nothing heavy: the imports of a help page are watched."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp",
    "alembic",
    "fastexcel",
    "jsonata",
    "numpy",
    "pandas",
    "polars",
    "psutil",
    "pyarrow",
    "sqlalchemy",
    "xlsxwriter",
    "zstandard",
}
PROBE = """
import json, sys
sys.argv = ["etlctl", *json.loads(sys.argv[1])]
from etlctl.cli.main import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
print("\\n" + json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def probe(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("version",),
        ("run", "--help"),
        ("validate", "--help"),
        ("init", "--help"),
        ("preview", "--help"),
        ("plan", "--help"),
        ("test", "--help"),
        ("dead-letters", "--help"),
        ("runs", "--help"),
        ("components", "--help"),
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    seen = probe(*arguments)
    assert seen["code"] == 0
    assert not HEAVY & set(seen["modules"]), f"etlctl {' '.join(arguments)} imports {HEAVY & set(seen['modules'])}"


def test_the_probe_sees_a_heavy_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.replace("import json, sys", "import json, sys, polars"), '["--help"]'],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert "polars" in json.loads(done.stdout.splitlines()[-1])["modules"]


def test_importing_the_package_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import etlctl, etlctl.run, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}
