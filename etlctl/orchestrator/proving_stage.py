"""Where the runs of a proof take place: a copy of the destination for each, in a folder, with a ledger beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.orchestrator.proof import NotProvable, ProofSettings
from etlctl.orchestrator.proving_child import OUTPUT, PROGRESS
from etlctl.orchestrator.proving_evidence import DESTINATION, Evidence, gather
from etlctl.sdk.context import WriteContext
from etlctl.sdk.destinations import Destinations

if TYPE_CHECKING:
    from etlctl.contract.model import Contract
    from etlctl.orchestrator.proving_process import Children
    from etlctl.sdk.loader import Loader


@frozen
class Scene:
    """A copy of the destination in a folder, and the order that runs the contract into it."""

    folder: Path
    loader: Loader
    order: Mapping[str, Any]

    def batches_done(self) -> int | None:
        """Return how many batches were done when the last process ended; None before the first."""
        try:
            text = (self.folder / PROGRESS).read_bytes()
        except FileNotFoundError:
            return None
        return int(text) if text.strip() else None

    def output(self) -> str:
        """Return what the processes printed."""
        try:
            return (self.folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""


@dataclass
class Stage:
    """Makes the scenes of a proof.

    Args:
        contract: What is proved.
        path: Where it is.
        settings: How it is proved.
        now: The instant that every run is of, UTC.
        folder: Folder for all of it.
    """

    contract: Contract
    path: Path
    settings: ProofSettings
    now: datetime
    folder: Path
    children: list[Children] = field(default_factory=list)

    def prepare(self) -> int:
        """Copy the destination, see that it can be read back, and return how many records it holds.

        Raises:
            NotProvable: It cannot be copied or read back.
        """
        try:
            self._origin: Loader = self.contract.loader.scratch(self.folder / "origin", self._ctx())
            return asyncio.run(self._origin.contents(self._ctx())).total()
        except FatalError as error:
            raise NotProvable(
                f"the destination ({self.contract.load_type}) cannot be imitated in a folder: {error}",
                help=error.help
                or "a loader can be proved when it has the methods scratch and contents; to try the rest of the "
                "contract, load into a file or into SQLite",
            ) from error

    @property
    def limit(self) -> int:
        """Source records to read at most."""
        own = self.contract.envelope.max_records
        return self.settings.max_records if own is None else min(own, self.settings.max_records)

    def scene(self, name: str, batch_size: int, interval: int | None) -> Scene:
        """Return a fresh copy of the destination, with the order that runs the contract into it.

        Args:
            name: Of the folder, once in a proof.
            batch_size: Source records per batch.
            interval: Batches between two commits; None: when it pays.
        """
        folder = self.folder / name.replace(" ", "-")
        folder.mkdir()
        loader = self._origin.scratch(folder / DESTINATION, self._ctx())
        order = {
            "contract": str(self.path),
            "params": dict(self.settings.params),
            "mode": self.settings.mode,
            "batch_size": batch_size,
            "max_records": self.limit,
            "interval": interval,
            "loader": loader.packed() if isinstance(loader, Destinations) else loader.model_dump_json(),
            "folder": str(folder),
            "now": self.now.isoformat(),
            "resume": False,
            "again": False,
        }
        return Scene(folder, loader, order)

    def evidence(self, scene: Scene, counts: Mapping[str, int]) -> Evidence:
        """Read back what the run of a scene left."""
        return gather(scene.loader, self._ctx(), scene.folder, counts)

    def _ctx(self) -> WriteContext:
        contract = self.contract
        return WriteContext(
            base_dir=contract.base_dir,
            now=self.now,
            params=contract.params,
            stream=contract.stream,
            fields=contract.fields,
            guard=contract.guard,
        )
