"""Columns without any value have the type that the contract declares, and later values decide for themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from etlctl.batch import Batch
from etlctl.kit.codecs import parquet_writer
from etlctl.kit.codecs.parquet_sink import ParquetStyle
from etlctl.kit.codecs.parquet_writer import ParquetWriter
from etlctl.kit.codecs.writing import Target

DECLARED = {"n": "integer", "at": "datetime", "d": "decimal", "name": "string", "o": "object", "x": "any"}
EMPTY = dict.fromkeys(DECLARED)


def _written(path: Path, *batches: list[dict[str, Any]], existing: Path | None = None) -> dict[str, pl.DataType]:
    writer = ParquetWriter(Target(path.name, path=path, existing=existing, declared=DECLARED), ParquetStyle())
    for batch in batches:
        assert writer.write(Batch.of_rows(batch, None)) == []
    writer.finish()
    return dict(pl.read_parquet_schema(path))


def test_an_empty_column_has_the_declared_type(tmp_path: Path) -> None:
    schema = _written(tmp_path / "a.parquet", [{**EMPTY, "undeclared": None}])
    assert schema == {
        "n": pl.Int64(),
        "at": pl.Datetime("us"),
        "d": pl.Decimal(38, 0),
        "name": pl.String(),
        "o": pl.Null(),
        "x": pl.Null(),
        "undeclared": pl.Null(),
    }


def test_values_that_come_later_are_not_held_to_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(parquet_writer, "HELD_ROWS", 1)  # each batch goes to the file at once
    path = tmp_path / "a.parquet"
    schema = _written(path, [EMPTY], [{**EMPTY, "n": "text", "at": datetime(2026, 1, 1, tzinfo=UTC)}])
    assert (schema["n"], schema["at"], schema["name"]) == (pl.String(), pl.Datetime("us", "UTC"), pl.String())
    assert pl.read_parquet(path)["n"].to_list() == [None, "text"]


def test_nor_are_values_that_are_appended(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.parquet" for name in "abc")
    _written(first, [EMPTY])
    later = {**EMPTY, "at": datetime(2026, 1, 1, tzinfo=UTC), "n": 1}
    schema = _written(second, [later], existing=first)
    assert (schema["at"], schema["n"]) == (pl.Datetime("us", "UTC"), pl.Int64())
    assert _written(third, [EMPTY], existing=second) == schema
    assert pl.read_parquet(third)["n"].to_list() == [None, 1, None]
