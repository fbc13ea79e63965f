"""Which format a path and its options ask for, and whether they go together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import PurePath
from typing import Any

from etlctl.frozen import frozen
from etlctl.kit.byte_sink import PlainCompression
from etlctl.kit.codecs.writing import Format, Target

_EXTENSIONS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
}
_SUFFIXES: dict[str, PlainCompression] = {".gz": "gzip", ".zst": "zstd"}
_OWN_EXTENSION = {"excel": ".xlsx"}
_TEXT = frozenset({"csv", "tsv", "json", "jsonl"})
_OPTIONS = {
    "csv_options": frozenset({"csv", "tsv"}),
    "json_options": frozenset({"json"}),
    "parquet_options": frozenset({"parquet"}),
    "excel_options": frozenset({"excel"}),
}


@frozen
class Choice:
    """What a contract says about a destination.

    Attributes:
        path: As written.
        format: A format, or ``auto``.
        compression: A compression, or ``auto``.
        as_parts: The path is a folder of parts.
        options: Options of formats, by their name in the contract.
    """

    path: str
    format: str
    compression: str
    as_parts: bool
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def _names_file(self) -> bool:
        return not self.as_parts and self.path != "-"

    def compression_kind(self) -> PlainCompression:
        """Return the compression, ``auto`` resolved."""
        if self.compression == "auto":
            return _SUFFIXES.get(PurePath(self.path).suffix.lower(), "none") if self._names_file else "none"
        return {"gzip": "gzip", "zstd": "zstd"}.get(self.compression, "none")  # type: ignore[return-value]

    def extension(self) -> str:
        """Return the extension of the path that tells the format."""
        path = PurePath(self.path)
        return (PurePath(path.stem) if path.suffix.lower() in _SUFFIXES else path).suffix.lower()

    def format_name(self) -> str | None:
        """Return the format, ``auto`` resolved; None when the path does not tell."""
        if self.format != "auto":
            return self.format
        return _EXTENSIONS.get(self.extension()) if self._names_file else None


def problem_of(choice: Choice) -> str | None:
    """Return what does not go together, in words that say what to do, or None."""
    name = choice.format_name()
    if name is None:
        return _unknown(choice)
    for option in choice.options:
        if name not in _OPTIONS[option]:
            return f"{option} has no effect on format {name}; remove it, or set format"
    if name not in _TEXT:
        if choice.path == "-":
            return f"{name} cannot be written to standard output; choose csv, tsv, json or jsonl, or a file"
        if choice.compression_kind() != "none":
            advice = (
                "set parquet_options: {compression: …}" if name == "parquet" else "its content is compressed anyway"
            )
            return f"{name} is not compressed as a whole; {advice}"
    parquet = choice.options.get("parquet_options", {})
    level, codec = parquet.get("level"), parquet.get("compression")
    if level is not None and (codec not in {"zstd", "gzip"} or (codec == "gzip" and level > 9)):
        return f"parquet_options.level: {level} does not go with compression {codec}; zstd takes 1 to 22, gzip 1 to 9"
    return _delimiter_problem(choice)


def _delimiter_problem(choice: Choice) -> str | None:
    delimiter = choice.options.get("csv_options", {}).get("delimiter")
    if delimiter is not None and (not delimiter.isascii() or delimiter in '"\r\n'):
        return f"csv_options.delimiter: {delimiter!r} cannot be one; take an ASCII character, no quote and no line end"
    return None


def _unknown(choice: Choice) -> str:
    known = ", ".join(_EXTENSIONS)
    if not choice._names_file:  # noqa: SLF001
        what = "a folder" if choice.as_parts else "standard output"
        return f"{what} does not tell the format; set format: csv, tsv, json, jsonl, parquet or excel"
    extension = choice.extension()
    told = f"the extension {extension!r} does not tell the format" if extension else "the path has no extension"
    return f"{told}; use one of {known} (csv and JSON also with .gz or .zst), or set format"


def chosen(choice: Choice) -> tuple[Format, PlainCompression]:
    """Return the format with its options, and the compression. ``problem_of`` must have found nothing."""
    name = choice.format_name() or ""
    compression = choice.compression_kind()
    suffix = {"gzip": ".gz", "zstd": ".zst"}.get(compression, "")
    extension = _OWN_EXTENSION.get(name, f".{name}") + suffix
    return _MAKERS[name](name, extension, choice.options), compression


def _csv(name: str, extension: str, options: Mapping[str, Mapping[str, Any]]) -> Format:
    from etlctl.kit.codecs.csv_writer import CsvWriter, Dialect, encode_payload  # noqa: PLC0415

    given = dict(options.get("csv_options", {}))
    delimiter = given.pop("delimiter", None) or ("\t" if name == "tsv" else ",")
    dialect = Dialect(delimiter=delimiter, **given)
    return Format(name, extension, lambda target: CsvWriter(target, dialect), extends=True, encode=encode_payload)


def _json(name: str, extension: str, options: Mapping[str, Mapping[str, Any]]) -> Format:
    from etlctl.kit.codecs.json_writer import JsonWriter  # noqa: PLC0415
    from etlctl.kit.codecs.jsonl_writer import encode_payload  # noqa: PLC0415

    indent = options.get("json_options", {}).get("indent")
    return Format(name, extension, lambda target: JsonWriter(target, indent), encode=encode_payload)


def _jsonl(name: str, extension: str, _options: Mapping[str, Mapping[str, Any]]) -> Format:
    from etlctl.kit.codecs.jsonl_writer import JsonlWriter, encode_payload  # noqa: PLC0415

    return Format(name, extension, JsonlWriter, extends=True, encode=encode_payload)


def _parquet(name: str, extension: str, options: Mapping[str, Mapping[str, Any]]) -> Format:
    from etlctl.kit.codecs.parquet_sink import ParquetStyle  # noqa: PLC0415
    from etlctl.kit.codecs.parquet_writer import ParquetWriter  # noqa: PLC0415

    style = ParquetStyle(**options.get("parquet_options", {}))
    return Format(name, extension, lambda target: ParquetWriter(target, style))


def _excel(name: str, extension: str, options: Mapping[str, Mapping[str, Any]]) -> Format:
    from etlctl.kit.codecs.excel_writer import ExcelWriter  # noqa: PLC0415

    sheet = options.get("excel_options", {}).get("sheet", "Sheet1")

    def make(target: Target) -> ExcelWriter:
        return ExcelWriter(target, sheet)

    return Format(name, extension, make)


_MAKERS: dict[str, Callable[[str, str, Mapping[str, Mapping[str, Any]]], Format]] = {
    "csv": _csv,
    "tsv": _csv,
    "json": _json,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "excel": _excel,
}
