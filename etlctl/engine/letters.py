"""Makes dead letters of what was rejected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from etlctl.batch import Rejection
from etlctl.run import DeadLetter


class LetterMaker:
    """Makes the dead letters of one run.

    Args:
        run_id: The run.
        contract: Name of the contract.
        stream: Contract and parameter set.
        conceal: Takes out of a rejection what a contract masks; None: nothing.
    """

    def __init__(
        self, run_id: str, contract: str, stream: str, conceal: Callable[[Rejection], Rejection] | None = None
    ) -> None:
        self._run_id = run_id
        self._contract = contract
        self._stream = stream
        self.conceal = conceal

    def letters(self, seq: int, rejections: Sequence[Rejection], parts: dict[int, int]) -> list[DeadLetter]:
        """Return the letters of rejections of a batch.

        Args:
            seq: Number of the batch.
            rejections: What was rejected.
            parts: Counts those of each source record over all stages of the batch; changed.
        """
        made = []
        for rejection in map(self.conceal, rejections) if self.conceal is not None else rejections:
            part = parts.get(rejection.index, 0)
            parts[rejection.index] = part + 1
            made.append(self._letter(seq, part, rejection))
        return made

    def _letter(self, seq: int, part: int, rejection: Rejection) -> DeadLetter:
        ending = f"_{part}" if part else ""
        return DeadLetter(
            id=f"dl_{self._run_id.removeprefix('run_')}_{seq}_{rejection.index}{ending}",
            run_id=self._run_id,
            contract=self._contract,
            stream=self._stream,
            seq=seq,
            index=rejection.index,
            part=part,
            stage=rejection.stage,
            step=rejection.step,
            rule=rejection.rule,
            message=rejection.message,
            field=rejection.field,
            location=rejection.location,
            raw=rejection.raw,
        )
