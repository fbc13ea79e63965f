"""Makes the files of a new workspace, of the demo contract, and of a contract inferred from a data file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from etlctl.catalog import Catalog
from etlctl.contract import demo
from etlctl.contract.inference import Field, Inferred
from etlctl.contract.reference import schema_text
from etlctl.contract.yaml_text import comment, flow, literal, scalar
from etlctl.errors import EtlctlError
from etlctl.frozen import frozen
from etlctl.ids import is_safe_name
from etlctl.kit.compression import strip_suffix

_SECTIONS = ("extract", "transform", "load", "contract", "cases")
_GITIGNORE = ".etlctl/\nout/\n"
_NESTED = frozenset({"object", "array", "any"})
_TABULAR = frozenset({"csv", "tsv", "excel", "parquet"})
_SHOWN = 40
_FEW = 12


@frozen
class Written:
    """What became of the files.

    Attributes:
        written: Paths that were written.
        kept: Paths that were left as they are: the same already, or optional and there.
    """

    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def write_files(root: Path, files: Mapping[str, str], *, optional: Mapping[str, str], force: bool = False) -> Written:
    """Write files below a folder; none is written when one of them exists with another content.

    Args:
        root: The folder; made when missing.
        files: Text by path.
        optional: More files, which are left alone where they exist.
        force: Overwrite ``files`` that exist.

    Raises:
        EtlctlError: Files exist; the message lists all of them.
    """
    conflicts = [name for name, text in files.items() if (root / name).exists() and _text(root / name) != text]
    if conflicts and not force:
        raise EtlctlError(
            "these files exist already, nothing was written: "
            + ", ".join((root / name).as_posix() for name in conflicts),
            help="choose another folder (or --name with --from), or overwrite them with --force",
        )
    kept = [name for name in files if (root / name).exists() and name not in conflicts]
    kept += [name for name in optional if (root / name).exists()]
    written = []
    for name, text in {**files, **optional}.items():
        if name in kept:
            continue
        target = root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise EtlctlError(f"cannot write {target.as_posix()}: {error.strerror or error}") from error
        written.append(target)
    return Written(tuple(written), tuple(root / name for name in kept))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def workspace_files(name: str) -> dict[str, str]:
    """Return the files that make a folder a workspace."""
    config = f"# etlctl started anywhere below this folder works with the contracts here.\nname: {scalar(name)}\n"
    return {"etlctl.yaml": config}


def side_files(catalog: Catalog) -> dict[str, str]:
    """Return the files that help but may differ: schemas for editors, what Git should ignore."""
    schemas = {f"schemas/{section}.schema.json": schema_text(section, catalog) for section in _SECTIONS}
    return {".gitignore": _GITIGNORE, **schemas}


def demo_files(contracts: str = "contracts") -> dict[str, str]:
    """Return the demo contract."""
    texts = {"extract": demo.EXTRACT, "transform": demo.TRANSFORM, "load": demo.LOAD, "contract": demo.CONTRACT}
    texts["cases"] = demo.CASES
    folder = f"{contracts}/demo"
    files = {f"{folder}/{section}.yaml": _modeline(section, folder) + text for section, text in texts.items()}
    return {**files, f"{folder}/orders.csv": demo.ORDERS}


def _modeline(section: str, folder: str) -> str:
    schemas = Path(os.path.relpath("schemas", folder)).as_posix()
    return f"# yaml-language-server: $schema={schemas}/{section}.schema.json\n"


def contract_name(data: Path, given: str | None) -> str:
    """Return the name of a contract for a data file.

    Raises:
        EtlctlError: The name given cannot be one.
    """
    if given is not None:
        if not is_safe_name(given):
            raise EtlctlError(
                f"{given!r} cannot be the name of a contract",
                help="use letters, digits, '_', '.' and '-', beginning with a letter or digit",
            )
        return given
    stem = strip_suffix(data.name).partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:100] or "data"


def contract_files(
    inferred: Inferred, data: Path, root: Path, name: str, contracts: str = "contracts"
) -> dict[str, str]:
    """Return a contract for a data file.

    Args:
        inferred: What the file holds.
        data: The file.
        root: Folder of the workspace.
        name: Name of the contract.
        contracts: Folder of the contracts in the workspace.
    """
    folder = f"{contracts}/{name}"
    texts = {
        "extract": _extract(inferred, _path_from(root / folder, data)),
        "load": _load(inferred, name),
        "contract": _contract(inferred, data, name),
    }
    if any(found.convert is not None for found in inferred.fields):
        texts["transform"] = _transform(inferred)
    return {
        f"{folder}/{section}.yaml": _modeline(section, folder) + texts[section]
        for section in _SECTIONS
        if section in texts
    }


def _path_from(folder: Path, data: Path) -> str:
    here, there = os.path.abspath(folder), os.path.abspath(data)  # noqa: PTH100 - Path.absolute keeps ".."
    try:
        shared = Path(os.path.commonpath([here, there]))
    except ValueError:  # another drive
        return Path(there).as_posix()
    return Path(there if shared == Path(shared.anchor) else os.path.relpath(there, here)).as_posix()


def _extract(inferred: Inferred, path: str) -> str:
    sniffed = inferred.sniffed
    lines = ["type: file", f"path: {scalar(literal(path))}"]
    for block, options in sniffed.options.items():
        lines.append(f"{block}:")
        for key, value in options.items():
            note = sniffed.notes.get(key)
            lines.append(_with_note(f"  {key}: {flow(value)}", note))
    lines.append("processing_mode: streaming")
    if inferred.broken:
        lines.append(
            f"# {inferred.broken:,} records cannot be read; they go to the dead letters (on_bad_record: reject)"
        )
    return "\n".join(lines) + "\n"


def _with_note(line: str, note: str | None) -> str:
    return f"{line}  # {comment(note)}" if note else line


def _transform(inferred: Inferred) -> str:
    converted = [found for found in inferred.fields if found.convert is not None]
    extent = "the whole file" if inferred.complete else f"the first {inferred.records:,} records only"
    lines = [
        f"# Inferred once from {extent}: a field has a type here when every value has it. Read it, then change it",
        "# as you like; a value that does not convert later sends its record to the dead letters.",
        "transform:",
        "  convert:",
        *_aligned((f"    {scalar(found.name)}: {_convert(found)}", _why(found)) for found in converted),
        *(f"  {line}" for line in _left_alone(inferred)),
    ]
    return "\n".join(lines) + "\n"


def _left_alone(inferred: Inferred) -> list[str]:
    """Return remarks on the fields that are not converted."""
    others = [found for found in inferred.fields if found.convert is None]
    lines = ["# Left as they are:"] if others else []
    lines += [f"#   {comment(scalar(found.name))}: {comment(_why_not(found))}" for found in others]
    if any(found.type == "object" for found in others):
        lines += [
            '# To make fields of nested ones, put {flatten: {separator: "_"}} into transform.yaml, and take the',
            "# objects out of the schema in contract.yaml.",
        ]
    return lines


def _aligned(pairs: Iterator[tuple[str, str]]) -> Iterator[str]:
    known = list(pairs)
    width = min(60, max(len(line) for line, _ in known))
    for line, why in known:
        yield f"{line:<{width}}  # {comment(why)}"


def _convert(found: Field) -> str:
    options = found.convert
    if options is None:
        return found.type
    given: dict[str, Any] = {
        "format": options.format,
        "thousands": options.thousands,
        "decimal_separator": options.decimal_separator,
        "null_values": sorted(options.null_values),
    }
    given = {key: value for key, value in given.items() if value}
    return flow({"type": found.type, **given}) if given else found.type


def _why(found: Field) -> str:
    parts = [f"{found.values:,} of {found.records:,} values", _such_as(found)]
    if found.convert is not None and found.convert.null_values:
        words = ", ".join(f"{times:,} × {word!r}" for word, times in found.null_words.items())
        parts.append(f"read as null: {words}")
    return "; ".join(part for part in (*parts, found.note) if part)


def _why_not(found: Field) -> str:
    if found.empty and found.values:
        texts = " and ".join(f"{word!r}" if word else "empty text" for word in found.null_words)
        return f"no values: {texts} in {found.values:,} of {found.records:,} records"
    kind = {"string": "text", "any": "anything"}.get(found.type, found.type)
    parts = [
        f"{kind}, {found.values:,} of {found.records:,} values" if found.values else "",
        _such_as(found),
        found.note,
    ]
    if found.padded:
        parts.append("blanks around it: convert to string to take them off")
    if found.type == "string" and found.null_words and "no values" not in found.note:
        words = ", ".join(f"{times:,} × {word!r}" for word, times in found.null_words.items())
        parts.append(f"{words}: if that means no value, convert with {{type: string, null_values: […]}}")
    return "; ".join(part for part in parts if part)


def _such_as(found: Field) -> str:
    shown = ", ".join(_example(value) for value in found.examples)
    return f"such as {shown}" if shown else ""


def _example(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _load(inferred: Inferred, name: str) -> str:
    nested = any(found.type in _NESTED and found.values for found in inferred.fields)
    extension = "jsonl" if nested or inferred.sniffed.format not in _TABULAR else "parquet"
    return f"type: file\npath: out/{name}.{extension}\nwrite_method: replace\n"


def _contract(inferred: Inferred, data: Path, name: str) -> str:
    lines = [
        f"name: {scalar(name)}",
        'version: "1.0.0"',
        f"description: {scalar(f'Records of {data.name}.')}",
        "schema:  # what a loaded record must look like; others go to the dead letters",
        "  fields:",
    ]
    for found in inferred.fields:
        rule: dict[str, Any] = {"type": found.type}
        if found.nulls == 0 and not found.empty:
            rule["required"] = True
        lines.append(_with_note(f"    {scalar(found.name)}: {flow(rule)}", _suggestion(found)))
    if all(found.convert is None for found in inferred.fields):
        lines += ["# There is no transform.yaml, since no field needs another type.", *_left_alone(inferred)]
    return "\n".join(lines) + "\n"


def _suggestion(found: Field) -> str | None:
    """Suggest a rule that the file obeys, but perhaps by chance."""
    if found.empty:
        return None
    if found.unique and found.nulls == 0 and found.records > 1 and found.type not in _NESTED:
        return "no value comes twice: unique: true?"
    few = found.distinct
    if found.padded:
        return None
    if found.type == "string" and few is not None and 1 < len(few) <= _FEW and found.values >= 5 * len(few):
        return f"enum: {flow(list(few))}?"
    return None
