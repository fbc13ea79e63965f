"""What a component gets to know about the run it works in. Contexts replace globals and monkeypatching."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from etlctl.batch import Position
from etlctl.cursor import Window
from etlctl.frozen import frozen
from etlctl.quality import Drift, PastRun
from etlctl.sdk.guard import DeclaredField, ReplaceGuard

if TYPE_CHECKING:
    from etlctl.sdk.outbox import Outbox

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound="Context")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@frozen(kw_only=True)
class Context:
    """Shared by all components of a run.

    Attributes:
        base_dir: Folder that relative paths in the contract start at: the contract's own folder.
        now: The one instant of the run, UTC.
        params: Parameters of the run.
        environ: Environment variables; a copy, so that a test can give its own.
        run_id: The run, empty outside of one.
        stream: Contract and parameter set.
        warn: Reports something the user should know without stopping the run.
        cassette: File of recorded HTTP answers, when there is one.
        cassette_mode: ``record`` writes what is said over HTTP to it; ``replay`` answers from it, without a network.
    """

    base_dir: Path = field(default_factory=Path.cwd)
    now: datetime = field(default_factory=_utc_now)
    params: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    run_id: str = ""
    stream: str = ""
    warn: Callable[[str], None] = field(default=lambda _message: None)
    cassette: Path | None = None
    cassette_mode: Literal["record", "replay"] | None = None

    def path(self, text: str) -> Path:
        """Return a path of the contract, relative ones starting at ``base_dir``; ``~`` is the home folder."""
        return self.base_dir / Path(text).expanduser()

    def shared_with(self, kind: type[C], **own: Any) -> C:
        """Return a context of another kind that shares what all components of the run share.

        Args:
            kind: The context's class.
            own: What only that kind has.
        """
        return kind(**{field.name: getattr(self, field.name) for field in fields(Context)}, **own)

    @staticmethod
    async def run_cpu(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking or CPU-bound work on a thread, off the event loop."""
        return await asyncio.to_thread(function, *args, **kwargs)


@frozen(kw_only=True)
class ReadContext(Context):
    """What an extractor gets to know.

    Attributes:
        position: Where to start: the position of the last committed batch, or None for the beginning.
        batch_size: Records per batch the run works with; a hint. The engine cuts and joins batches itself.
        chunk_bytes: Bytes worth reading at once, about 8 MB, less under a memory budget.
        step: Name of the place in the contract, for rejections.
        conceals: The contract masks personal data: what ends the run must not quote a record.
        defers: Batches may be ``deferred``: the engine reads their records slice by slice.
        window: What part of the source an incremental run wants; None: all of it. The engine filters in any case.
    """

    position: Position | None = None
    batch_size: int = 50_000
    chunk_bytes: int = 8 << 20
    step: str = "extract"
    conceals: bool = False
    defers: bool = False
    window: Window | None = None


@frozen(kw_only=True)
class StepContext(Context):
    """What an operation gets to know.

    Attributes:
        step: Name of the place in the contract, such as ``transform.convert``.
        whole: Steps that see a whole batch see the whole data set (full mode); otherwise one batch at a time.
    """

    step: str = "transform"
    whole: bool = True


@frozen(kw_only=True)
class ConclusionContext(Context):
    """What an operation gets to know when all records have passed and nothing is published yet.

    Attributes:
        step: Name of the place in the contract.
        records: Records that came out of the step, over all attempts of the run.
        past: The newest runs of the stream that finished before, as many as ``looks_back`` asks for.
    """

    step: str = "check"
    records: int = 0
    past: Sequence[PastRun] = ()


@frozen(kw_only=True)
class WriteContext(Context):
    """What a loader gets to know.

    Attributes:
        step: Name of the place in the contract, for rejections.
        fence: Generation of the lease; a writer with an older one must not commit.
        resume: This is a later attempt of a run: keep what it had committed. Otherwise what unfinished runs of the
            stream left unpublished is removed.
        publish_once: Nothing may be seen before ``finish`` (full mode); otherwise every commit may be seen.
        commit_interval: Batches between two durable commits, as the user asked for; None: when it pays.
        resumable: A run that fails may be resumed; otherwise nothing needs to be durable before ``finish``.
        fields: The declared fields of the records to load, in order; empty when none are declared.
        guard: Keeps a replace from emptying or shrinking what is there.
        dry_run: Nothing may be written.
        drift: Told of every difference between the records and the destination; the ledger keeps it.
        outbox: Keeps requests before they are sent, for destinations without transactions; None without a ledger.
    """

    step: str = "load"
    fence: int = 0
    resume: bool = False
    publish_once: bool = False
    commit_interval: int | None = None
    resumable: bool = True
    fields: Mapping[str, DeclaredField] = field(default_factory=dict)
    guard: ReplaceGuard = field(default_factory=ReplaceGuard)
    dry_run: bool = False
    drift: Callable[[Drift], None] = field(default=lambda _drift: None)
    outbox: Outbox | None = None
