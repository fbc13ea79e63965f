"""Reads the repository's Markdown: fences, inline commands, links; and plays a document's fences in order."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
_FENCE = re.compile(
    r"^(?:`(?P<above>[\w./-]+)`:\n\n?)?```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_TITLE = re.compile(r"# (?P<path>[\w./-]+\.(?:yaml|py))\n")
_ID = re.compile(r"\b(dl_|run_)…")
_INLINE = re.compile(r"`(etlctl [^`]+)`")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<target>[^)#\s]+)")


class Fence(NamedTuple):
    """A fenced block: its language, its text, the line it begins on, and the path on the line above it."""

    language: str
    body: str
    line: int
    above: str | None = None

    @property
    def path(self) -> str | None:
        """The file the block is: a path on the line above it, or in a comment on its first line."""
        title = _TITLE.match(self.body)
        return title["path"] if title else self.above


class Shown(NamedTuple):
    """A command as a document shows it, with the output below it and the line it stands on."""

    command: str
    output: str
    line: int


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fences(name: str) -> list[Fence]:
    source = text(name)
    return [
        Fence(match["language"], match["body"], source.count("\n", 0, match.start("body")), match["above"])
        for match in _FENCE.finditer(source)
    ]


def shown_commands(fence: Fence) -> Iterator[Shown]:
    """Yield the commands of a console block: lines after ``$ ``, with what follows as their output."""
    command, output, line = None, [], 0
    for number, content in enumerate(fence.body.splitlines(), fence.line + 1):
        if content.startswith("$ "):
            if command:
                yield Shown(command, "\n".join(output), line)
            command, output, line = content[2:], [], number
        else:
            output.append(content)
    if command:
        yield Shown(command, "\n".join(output), line)


def etlctl_commands(name: str) -> list[str]:
    """Return every etlctl command line a document mentions: in console and bash blocks and inline."""
    found = _INLINE.findall(text(name))
    for fence in fences(name):
        if fence.language == "console":
            found += [shown.command for shown in shown_commands(fence)]
        elif fence.language == "bash":
            parts = re.split(r"&&|\n", fence.body)
            found += [part.strip().removeprefix(".venv/bin/") for part in parts]
    return [command for command in found if command.startswith("etlctl")]


def links(name: str) -> list[str]:
    return [match["target"] for match in _LINK.finditer(text(name))]


def play(name: str, folder: Path) -> list[str]:
    """Write a document's files and run its console commands in reading order; return what is not as shown.

    ``cd`` is understood. An id such as ``dl_…`` in a command stands for the first of that kind in the last output.
    """
    wrong: list[str] = []
    printed = ""
    for fence in fences(name):
        if fence.path:
            path = folder / fence.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fence.body, encoding="utf-8")
        elif fence.language == "python":
            subprocess.run([sys.executable, "-c", fence.body], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        elif fence.language == "console":
            for shown in shown_commands(fence):
                if shown.command.startswith("cd "):
                    folder /= shown.command.removeprefix("cd ")
                    continue
                printed = run(with_ids(shown.command, printed), folder)
                if not as_shown(shown.output, printed):
                    wrong.append(f"{name}:{shown.line}: $ {shown.command}\nshown:\n{shown.output}\ngot:\n{printed}\n")
    return wrong


def as_shown(want: str, got: str) -> bool:
    """Compare outputs; ``…`` stands for anything, and white space and rules are not compared."""
    want, got = (re.sub(r"─+", "-", text) + "\n" for text in (want.replace("…", "..."), got))
    return OutputChecker().check_output(want, got, ELLIPSIS | NORMALIZE_WHITESPACE)


def with_ids(command: str, printed: str) -> str:
    """Put the first id of its kind that was printed in the place of each shortened one."""
    for kind in _ID.findall(command):
        if found := re.search(rf"\b{kind}\w+", printed):
            command = command.replace(f"{kind}…", found[0], 1)
    return command


def run(command: str, folder: Path) -> str:
    """Run an etlctl command line in a folder; return what it printed, data first, then talk.

    Variables may stand before the command, as in a shell.
    """
    words = shlex.split(command)
    given = list(takewhile(re.compile(r"[A-Z_]+=").match, words))
    program, *arguments = words[len(given) :]
    assert program == "etlctl", f"only etlctl commands can be checked, not {command!r}"
    done = subprocess.run(
        [sys.executable, "-m", "etlctl", *arguments],
        cwd=folder,
        env={
            **os.environ,
            **dict(one.split("=", 1) for one in given),
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "PYTHONUTF8": "1",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    printed = f"{done.stdout.strip()}\n{done.stderr.strip()}".strip().replace("\\", "/")
    return "\n".join(line.rstrip() for line in printed.splitlines())
