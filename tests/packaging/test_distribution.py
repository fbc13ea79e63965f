"""What is built and installed is complete, and runs where no checkout is near."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE_FOLDERS = ("etlctl", "extractors", "transforms", "loaders")
SOURCE_FILES = ("pyproject.toml", "README.md", "LICENSE")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


class Built(NamedTuple):
    """The two archives of a release."""

    sdist: Path
    wheel: Path


class Environment(NamedTuple):
    """A virtual environment: its interpreter, its scripts and its site-packages."""

    python: Path
    scripts: Path
    site_packages: Path

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}} | {"PYTHONUTF8": "1"}
        return subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
        )


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sources only: no installed metadata, no caches."""
    copy = tmp_path_factory.mktemp("sources")
    for folder in SOURCE_FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in SOURCE_FILES:
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.fixture(scope="session")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the sdist, and the wheel out of the sdist."""
    target = tmp_path_factory.mktemp("dist")
    new_enough = int(version("setuptools").partition(".")[0]) >= 77
    options = ["--no-isolation"] if new_enough else []
    command = [sys.executable, "-m", "build", *options, "--outdir", str(target), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(sdist=next(target.glob("*.tar.gz")), wheel=next(target.glob("*.whl")))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Make an environment that sees the dependencies installed for the tests, but no editable install.

    A path in a ``.pth`` file is searched, but the ``.pth`` files in it are not run, and one of those is what makes an
    editable install importable.
    """
    home = tmp_path / "environment"
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(home)
    names = {"base": str(home), "platbase": str(home), "installed_base": str(home), "installed_platbase": str(home)}
    scheme = "nt" if os.name == "nt" else "posix_prefix"
    paths = sysconfig.get_paths(scheme, vars=names)
    site_packages = Path(paths["purelib"])
    dependencies = Path(sysconfig.get_paths()["purelib"])
    (site_packages / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
    scripts = Path(paths["scripts"])
    return Environment(scripts / ("python.exe" if os.name == "nt" else "python"), scripts, site_packages)


def files_of(root: Path, pattern: str = "*") -> set[str]:
    """Return the matching files of the source folders, by their path below the root."""
    paths = (path for folder in SOURCE_FOLDERS for path in (root / folder).rglob(pattern))
    return {path.relative_to(root).as_posix() for path in paths if path.is_file() and "__pycache__" not in path.parts}


def installed(name: str) -> str:
    """Return where a source file stands after an install."""
    return name if name.startswith("etlctl/") else f"etlctl/{name}"


def test_every_package_is_declared() -> None:
    found = {installed(name).rpartition("/")[0].replace("/", ".") for name in files_of(ROOT, "__init__.py")}
    assert found == set(SETTINGS["packages"])


def test_the_wheel_has_every_file_and_one_name(built: Built, sources: Path) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"etlctl"}
    files = {name for name in names if name.startswith("etlctl/")}
    assert files == {installed(name) for name in files_of(sources)}
    assert "etlctl/py.typed" in files
    assert any(name.startswith("etlctl/state/migrations/versions/") for name in files)


def test_the_source_archive_has_every_file(built: Built, sources: Path) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    assert files_of(sources) <= names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


@pytest.fixture
def release(built: Built, environment: Environment) -> Environment:
    """Install the wheel, without its dependencies: they are visible already."""
    command = [sys.executable, "-m", "pip", "--python", str(environment.python), "install"]
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run([*command, *options, str(built.wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return environment


def test_the_wheel_runs_a_contract_in_another_folder(release: Environment, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(
        ROOT / "contracts" / "flights", elsewhere / "contracts" / "flights", ignore=shutil.ignore_patterns("out")
    )
    (elsewhere / "etlctl.yaml").write_text("", encoding="utf-8")

    where = release.run(str(release.python), "-c", "import etlctl; print(etlctl.__file__)", cwd=elsewhere)
    assert Path(where.stdout.strip()).is_relative_to(release.site_packages), where.stderr

    script = shutil.which("etlctl", path=str(release.scripts))
    assert script, "the wheel installs no etlctl command"
    done = release.run(script, "run", "contracts/flights", "--json", cwd=elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["counts"]["loaded"] > 0
    assert (elsewhere / "contracts" / "flights" / "out" / "flights.parquet").stat().st_size > 0


def test_the_wheel_runs_the_example_inside_the_checkout(release: Environment, sources: Path, tmp_path: Path) -> None:
    """A plain install meets the component folders it was built from, and takes them for what they are."""
    checkout = example_checkout(sources, tmp_path)
    script = shutil.which("etlctl", path=str(release.scripts))
    assert script
    done = release.run(script, "run", "contracts/flights", cwd=checkout)
    assert done.returncode == 0, done.stdout + done.stderr


def example_checkout(sources: Path, tmp_path: Path) -> Path:
    checkout = tmp_path / "checkout"
    shutil.copytree(sources, checkout)
    flights = Path("contracts", "flights")
    shutil.copytree(ROOT / flights, checkout / flights, ignore=shutil.ignore_patterns("out"))
    shutil.copy(ROOT / "etlctl.yaml", checkout)
    return checkout


@pytest.mark.parametrize("arguments", [("version",), ("components",), ("validate", "contracts/flights")], ids=" ".join)
def test_a_checkout_works_without_an_install(
    sources: Path, environment: Environment, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    checkout = example_checkout(sources, tmp_path)
    done = environment.run(str(environment.python), "-m", "etlctl", *arguments, cwd=checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    if arguments == ("components",):
        assert "file" in done.stdout
        assert "rename" in done.stdout
