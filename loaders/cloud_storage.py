"""Writes records to objects in S3, Google Cloud Storage and Azure Blob Storage: one object, or a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from etlctl.ids import new_id
from etlctl.kit.codecs.formats import Choice, chosen, problem_of
from etlctl.kit.codecs.write_options import CsvOptions, ExcelOptions, JsonOptions, ParquetOptions
from etlctl.kit.drafts import Claim
from etlctl.kit.file_places import Job, Place
from etlctl.kit.objects.options import StoreOptions, joined
from etlctl.sdk import CommitToken, Delivery, Example, FatalError, Loader, WriteContext, Writer
from etlctl.sdk.dry_writer import DryWriter
from etlctl.sdk.place_writer import PlaceWriter
from etlctl.sdk.stored import Stored

if TYPE_CHECKING:
    from etlctl.kit.objects.bucket import Bucket
    from etlctl.kit.objects.read_back import WrittenObjects


class CloudStorage(StoreOptions, Loader):
    """Writes CSV, TSV, JSON, JSON lines, Parquet or Excel objects to S3, Google Cloud Storage or Azure.

    A path with a name is one object: it gets its content in one step, when the run has everything, and is never seen
    half-written. ``append`` writes it anew with its old content in front. A path that ends in ``/`` is a data set: an
    object for each batch, in folders by ``partition_by``. Its objects appear one after the other at the end of the run,
    then the manifest beside the folder (``.orders.manifest.json``) says that they count, and only then those that they
    replace are removed: who reads by the manifest sees the data set before or after the run, who lists it may see some
    of both for a moment. What a run has committed waits in a hidden folder beside the destination
    (``.orders.etlctl/``), from where any machine can resume it; what a run that died has left is removed when its
    stream is opened next. Uploads that were cut off stay invisible: let a lifecycle rule of the bucket remove them.

    An older attempt of a run that wakes up cannot commit any more (If-None-Match, If-Match); only a single object over
    8 MB is asked about before its last part, not with it. A store that does not
    hold to such conditions is found out and reported: then only one attempt of a run may live. Objects are made in the
    temporary folder of this machine, which needs room for one object, or for the batches between two commits of a
    data set. S3 and Azure are tested against servers, Google Cloud Storage against a stand-in for its protocol.
    """

    extra: ClassVar[str | None] = "cloud"

    path: str | None = Field(default=None, min_length=1)
    """The key below ``prefix`` and the URL's own; a trailing ``/`` means a data set, as does leaving it out."""
    format: Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "excel"] = "auto"
    """What to write; ``auto`` goes by the extension."""
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    """Compression of csv, tsv, json and jsonl; ``auto`` goes by ``.gz`` and ``.zst``."""
    write_method: Literal["replace", "append", "insert", "overwrite"] | None = None
    """``replace`` (the default; also called ``overwrite``) or ``append`` (also called ``insert``)."""
    write_mode: Literal["replace", "append", "insert", "overwrite"] | None = None
    """Another name for ``write_method``."""
    partition_by: str | list[str] | None = Field(default=None, min_length=1)
    """Fields whose values name the folders of a data set, ``country=AT/day=2026-01-01/``; they are not in the objects."""  # noqa: E501
    max_partitions: int = Field(default=1_000, ge=1)
    """Folders that one batch may go to; more stop the run."""
    conditional_writes: bool = True
    """Shut out older attempts by conditional writes; ``false`` for stores that do not know them."""
    csv_options: CsvOptions | None = None
    """How CSV and TSV are written."""
    json_options: JsonOptions | None = None
    """How JSON is written."""
    parquet_options: ParquetOptions | None = None
    """How Parquet is written."""
    excel_options: ExcelOptions | None = None
    """How a workbook is written."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example("One object, written anew on each run", "url: s3://reports/2026/orders.csv.gz\nregion: eu-central-1"),
        Example(
            "A data set in folders by day, which grows from run to run",
            "url: az://lake/orders/\nformat: parquet\nwrite_method: append\npartition_by: [day]\n"
            'account_name: contoso\naccount_key: "${env:LAKE_KEY:-dGVzdA==}"',
        ),
        Example(
            "A folder of this machine in the place of a bucket",
            "provider: local\nbucket: lake\npath: people.csv",
            given=[{"name": "Ann", "age": 41}, {"name": "Bob", "age": None}],
            expect={"lake/people.csv": "name,age\nAnn,41\nBob,\n"},
        ),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.write_method and self.write_mode and self._appends(self.write_method) != self._appends(self.write_mode):
            raise ValueError(
                f"write_method: {self.write_method} and write_mode: {self.write_mode} contradict each other; keep one"
            )
        if len(set(self.fields_of_folders)) < len(self.fields_of_folders) or not all(self.fields_of_folders):
            raise ValueError(f"partition_by: {list(self.fields_of_folders)} names a field twice, or an empty one")
        if "${" in f"{self.url}{self.bucket}{self.prefix}{self.path}":
            return self
        key = self._key()
        if self.fields_of_folders and not key.endswith("/"):
            raise ValueError(f"partition_by makes folders, and {key!r} is one object; end the path with /")
        if any(part in {"", ".", ".."} for part in key.rstrip("/").split("/")):
            raise ValueError(f"path: {key!r} is no key: no part of it may be empty, . or ..")
        problem = problem_of(self._choice())
        if problem is not None:
            raise ValueError(problem)
        return self

    @staticmethod
    def _appends(method: str | None) -> bool:
        return method in {"append", "insert"}

    @property
    def appends(self) -> bool:
        """Records come after what is there, instead of replacing it."""
        return self._appends(self.write_method or self.write_mode)

    @property
    def fields_of_folders(self) -> tuple[str, ...]:
        """Fields whose values name folders."""
        if self.partition_by is None:
            return ()
        return (self.partition_by,) if isinstance(self.partition_by, str) else tuple(self.partition_by)

    def _key(self) -> str:
        """Return the whole key; that of a data set ends in a slash."""
        key = joined(self.location().key, self.path or "")
        is_set = self.path is None and (self.url is None or bool(self.prefix) or key.endswith("/"))
        return f"{key.rstrip('/')}/" if is_set else key

    def _choice(self) -> Choice:
        given = {
            name: value.model_dump()
            for name in ("csv_options", "json_options", "parquet_options", "excel_options")
            if (value := getattr(self, name)) is not None
        }
        key = self._key()
        return Choice(key, self.format, self.compression, key.endswith("/"), given)

    def _bucket(self, ctx: WriteContext, *, make: bool = False) -> tuple[Bucket, str]:
        from etlctl.kit.objects.bucket import open_bucket  # noqa: PLC0415

        bucket, _ = open_bucket(self, ctx.base_dir, make=make)
        if not self.conditional_writes:
            bucket.trust_no_condition()
        return bucket, self._key()

    def delivery(self) -> Delivery:
        """A resumed run goes by its token; without conditional writes, attempts that overlap are not kept apart."""
        fenced = self.conditional_writes and self.location().provider != "local"
        return Delivery.exactly_once if fenced else Delivery.at_least_once

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the file or folder that is written, when a folder stands for the bucket."""
        location = self.location()
        if location.provider != "local":
            return ()
        return ((base_dir / Path(location.bucket).expanduser() / self._key()).resolve(),)

    def identity(self, base_dir: Path) -> tuple[str, ...]:
        """Return the bucket and the key."""
        found = self.location()
        if found.provider == "local":
            return tuple(map(str, self.places(base_dir)))
        account = found.account or self.account_name or ""
        return found.provider, found.endpoint or "", account, found.bucket, self._key()

    async def held(self, ctx: WriteContext) -> CommitToken | None:
        """Return the token of an unfinished run of the stream; what it has prepared is hidden."""
        from etlctl.kit.objects.read_back import held_token  # noqa: PLC0415

        token = await ctx.run_cpu(lambda: held_token(*self._bucket(ctx, make=True), ctx.stream))
        return None if token is None else CommitToken.from_dict(token)

    async def unfinished(self, ctx: WriteContext) -> Sequence[CommitToken]:
        """Return the tokens of the contract's unfinished runs at this place, whichever of its destinations they are."""
        from etlctl.kit.objects.read_back import unfinished_tokens  # noqa: PLC0415

        tokens = await ctx.run_cpu(lambda: unfinished_tokens(*self._bucket(ctx, make=True), ctx.stream))
        return [CommitToken.from_dict(token) for token in tokens]

    async def forget(self, ctx: WriteContext, streams: Collection[str]) -> None:
        """Remove what unfinished runs of these streams have prepared here."""
        from etlctl.kit.objects.read_back import forget_unfinished  # noqa: PLC0415

        await ctx.run_cpu(lambda: forget_unfinished(*self._bucket(ctx), streams))

    def additive(self) -> CloudStorage:
        """Return the loader that appends to the same place."""
        return self if self.appends else self.model_copy(update={"write_method": "append", "write_mode": None})

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:
        """Return this loader with a folder in the place of the bucket, where a copy of the destination is put."""
        from etlctl.kit.objects.bucket import open_bucket  # noqa: PLC0415
        from etlctl.kit.objects.read_back import copy_objects  # noqa: PLC0415

        nothing = dict.fromkeys(
            ("url", "prefix", "endpoint", "region", "access_key_id", "secret_access_key", "session_token",
             "account_name", "account_key", "sas_token", "service_account_path")
        )  # fmt: skip
        more = {"provider": "local", "bucket": str(folder), "path": self._key(), "allow_http": False}
        made = self.model_copy(update={**nothing, **more, "anonymous": False})
        copy_objects(*self._bucket(ctx, make=True), open_bucket(made, ctx.base_dir, make=True)[0])
        return made

    async def contents(self, ctx: WriteContext) -> Counter[str]:
        """Return how often each record is there; fields without a value are left out.

        Raises:
            FatalError: It cannot be read.
        """
        return await ctx.run_cpu(self._written(ctx).contents)

    async def stored(self, ctx: WriteContext) -> Stored:
        """Return what is there.

        Raises:
            FatalError: It cannot be read.
        """
        written = self._written(ctx)
        return Stored(await ctx.run_cpu(written.exists), written.records)

    def _written(self, ctx: WriteContext) -> WrittenObjects:
        from etlctl.kit.objects.read_back import WrittenObjects  # noqa: PLC0415

        target, compression = chosen(self._choice())
        options: dict[str, Any] = {}
        if self.csv_options is not None:
            nulls = [self.csv_options.null_value] if self.csv_options.null_value else []
            told_apart = {"delimiter": self.csv_options.delimiter} if self.csv_options.delimiter else {}
            options = {"header": self.csv_options.header, "null_values": nulls, **told_apart}
        elif self.excel_options is not None:
            options = {"sheet": self.excel_options.sheet}
        return WrittenObjects(lambda: self._bucket(ctx, make=True), self._key(), target.name, compression, options)

    async def open(self, ctx: WriteContext) -> Writer:
        """Prepare the destination; nothing under the final keys changes before ``finish``.

        Raises:
            FatalError: It cannot be written.
            RetryableError: The store does not answer.
        """
        if ctx.dry_run:
            return DryWriter()
        place = await ctx.run_cpu(self._place, ctx)
        return _ObjectWriter(place, ctx, self._key(), None if self.appends else self._written(ctx))

    def _place(self, ctx: WriteContext) -> Place:
        from etlctl.kit.objects.data_set import DataSet  # noqa: PLC0415
        from etlctl.kit.objects.places import SingleObject  # noqa: PLC0415

        choice = self._choice()
        problem = problem_of(choice)
        if problem is not None:
            raise FatalError(f"cannot write {self._key()}: {problem}")
        target, compression = chosen(choice)
        declared = {name: field.type for name, field in ctx.fields.items() if name not in self.fields_of_folders}
        claim = Claim(ctx.run_id or new_id("run"), ctx.stream, ctx.fence, ctx.resume)
        job = Job(target.declaring(declared), compression, self.appends, claim, ctx.warn)
        bucket, key = self._bucket(ctx, make=True)
        if key.endswith("/"):
            return DataSet(bucket, key, job, self.fields_of_folders, self.max_partitions)
        return SingleObject(bucket, key, job)


class _ObjectWriter(PlaceWriter):
    """Commits less often than a file does: a commit is an upload."""

    seconds_between_commits = 15.0
