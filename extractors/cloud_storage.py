"""Reads objects of S3, Google Cloud Storage and Azure Blob Storage, in every format that files are read in."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from etlctl.kit.codecs.read_options import CsvOptions, ExcelOptions, JsonOptions, XmlOptions
from etlctl.kit.compression import Compression
from etlctl.kit.objects.options import StoreOptions, joined
from etlctl.kit.read_ahead import read_ahead
from etlctl.kit.record_files import OPTIONS, RecordFiles
from etlctl.kit.sources import OpenSource
from etlctl.sdk import Batch, Example, Extractor, ReadContext


class CloudStorage(StoreOptions, Extractor):
    """Reads CSV, TSV, JSON, JSON lines, Parquet, Excel or XML objects from S3, Google Cloud Storage or Azure.

    Objects are read in constant memory, block by block, and always one version from end to end; Parquet and Excel are
    copied to a temporary file first. A resumed run goes on in the object in which it stopped: when that one was
    replaced the run is refused, and objects that have come since are read. Reading is as strict as that of ``file``.
    S3 and Azure are tested against servers, Google Cloud Storage against a stand-in for its protocol.
    """

    extra: ClassVar[str | None] = "cloud"

    path: str | list[str] | None = Field(default=None, min_length=1)
    """The key, or several, below ``prefix`` and the URL's own; ``*``, ``**``, ``?`` and ``[…]`` match objects in the order of their keys; everything there when left out."""  # noqa: E501
    format: Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "excel", "xml"] = "auto"
    """What to read; ``auto`` goes by the extension."""
    compression: Compression = "auto"
    """How it is compressed; ``auto`` goes by ``.gz``, ``.zst`` and ``.zip`` (every fitting member, in name order)."""
    on_bad_record: Literal["reject", "fail"] = "reject"
    """What is no proper record goes to the dead letters (``reject``) or stops the run (``fail``)."""
    csv_options: CsvOptions | None = None
    """How CSV and TSV are read."""
    json_options: JsonOptions | None = None
    """How JSON and JSON lines are read."""
    excel_options: ExcelOptions | None = None
    """How a workbook is read."""
    xml_options: XmlOptions | None = None
    """How XML is read."""
    max_download_mb: int = Field(default=10_240, ge=1)
    """Megabytes of one Parquet or Excel object that may be copied to a temporary file."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "All CSV objects of a folder in a bucket, in the order of their keys",
            "url: s3://sales/2026/\npath: '*.csv'\nregion: eu-central-1",
        ),
        Example(
            "A data set in folders; its keys from the environment",
            "provider: azure\nbucket: lake\nprefix: orders\npath: '**/*.parquet'\n"
            'account_name: contoso\naccount_key: "${env:LAKE_KEY:-dGVzdA==}"',
        ),
        Example(
            "A folder of this machine in the place of a bucket",
            "provider: local\nbucket: lake\npath: days/*.jsonl",
            given={"lake/days/2.jsonl": '{"n": 2}\n', "lake/days/1.jsonl": '{"n": 1}\n[1]\n'},
            expect=[{"n": 1}, {"n": 2}],
            rejected=("jsonl.not_an_object",),
        ),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        paths = [self.path] if isinstance(self.path, str) else self.path
        if paths is None and self.url is not None and not self.url.endswith("/") and "/" in self.url.split("://")[-1]:
            paths = [self.url]
        if paths is not None:
            self._files().check(paths)
        return self

    def _files(self) -> RecordFiles:
        given = {name: getattr(self, name) for name in OPTIONS}
        return RecordFiles(self.format, self.compression, self.on_bad_record == "fail", given)

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the files that are read, when a folder stands for the bucket."""
        location = self.location()
        if location.provider != "local":
            return ()
        from etlctl.kit.objects.bucket import open_bucket  # noqa: PLC0415
        from etlctl.kit.objects.listing import find_objects  # noqa: PLC0415

        folder = (base_dir / Path(location.bucket).expanduser()).resolve()
        bucket, key = open_bucket(self, base_dir)
        return tuple(folder / entry.key for entry in find_objects(bucket, self._patterns(key)))

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield a batch per chunk of an object; objects are read on a thread, a little ahead."""
        stop = threading.Event()
        async with aclosing(read_ahead(lambda: self._batches(ctx, stop), stop=stop)) as batches:
            async for batch in batches:
                yield batch

    def _batches(self, ctx: ReadContext, stop: threading.Event) -> Iterator[Batch]:
        yield from self._files().batches(self._sources(ctx.base_dir, stop), ctx)

    def _sources(self, base_dir: Path, stop: threading.Event) -> list[OpenSource]:
        from etlctl.kit.objects.bucket import open_bucket  # noqa: PLC0415
        from etlctl.kit.objects.listing import find_objects  # noqa: PLC0415
        from etlctl.kit.objects.reading import object_sources  # noqa: PLC0415

        files, room = self._files(), self.max_download_mb << 20
        bucket, key = open_bucket(self, base_dir)
        sources: list[OpenSource] = []
        for entry in find_objects(bucket, self._patterns(key)):
            sources += object_sources(bucket, entry, self.compression, files.wanted, stop=stop, room=room)
        for source in sources:
            files.format_of_source(source)
        return sources

    def _patterns(self, key: str) -> list[str]:
        """Return whole keys and patterns; without a path it is what the URL names, or all that is below it."""
        if self.path is None:
            whole = self.url is not None and not self.prefix and key and not key.endswith("/")
            return [key] if whole else [joined(key, "**")]
        return [joined(key, path) for path in ([self.path] if isinstance(self.path, str) else self.path)]
