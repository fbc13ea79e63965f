"""Every error etlctl raises on purpose.

EtlctlError
├─ ContractError            the contract is wrong; nothing ran                exit 3
├─ CatalogError             unknown, duplicate or broken component            exit 3
├─ ComponentError           a component failed; the engine adds step and batch exit 1
│  ├─ RetryableError        waiting may help
│  │  └─ GaveUp             whoever raised it has waited and tried enough  exit 6
│  ├─ FatalError            waiting does not help
│  │  ├─ UnexpectedError    a component raised something else; its cause     exit 1
│  │  ├─ SourceUnavailable  the remote source does not answer                 exit 6
│  │  ├─ DestinationBusy    another run is writing the same destination       exit 75
│  │  └─ OutputClosed       whoever read our output has had enough            exit 141
│  │  ├─ RecordFailed       one record ends the run: on_violation: fail      exit 5
│  └─ RecordRejected        one record is refused; the run goes on
├─ ConversionError          a batch cannot change form without loss           exit 1
├─ LimitError               memory, error threshold, dead-letter budget       exit 5
├─ StateError               the ledger is behind, locked, damaged, busy       exit 7
│  ├─ NotInLedgerError      no such run, dead letter or checkpoint            exit 2
│  ├─ RunBusyError          another process holds the stream or the run key   exit 75
│  ├─ FencedError           another process has taken the run over            exit 7
│  ├─ CheckpointError       damaged, of another contract, ahead of the data   exit 7
│  └─ ResumeRefused         carrying on would mix or double; says what to do  exit 7
├─ RunStopped               a signal or a caller stopped the run              exit 130, 143
└─ ServiceError             an HTTP answer of the service
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etlctl.diagnostics import Diagnostic


class EtlctlError(Exception):
    """An error with a message a person can act on.

    Args:
        message: What happened, where and why, in one or two sentences.
        help: What to do next; shown on its own line.
    """

    exit_code: int = 1

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return self.message


class ContractError(EtlctlError):
    """The contract does not hold; carries every diagnostic found."""

    exit_code = 3

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = (), *, help: str | None = None) -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.diagnostics: list[Diagnostic] = list(diagnostics)


class CatalogError(EtlctlError):
    """A component is unknown, taken twice, or needs an extra that is not installed."""

    exit_code = 3


class ComponentError(EtlctlError):
    """A component failed. The engine attaches the step and the batch once."""

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.step: str | None = None
        self.batch: int | None = None

    def at(self, *, step: str, batch: int | None = None) -> ComponentError:
        """Attach where it happened, unless an inner layer already did."""
        self.step = self.step or step
        self.batch = self.batch if self.batch is not None else batch
        return self

    def __str__(self) -> str:
        where = ", ".join(
            part for part in (self.step, f"batch {self.batch}" if self.batch is not None else None) if part
        )
        return f"{self.message} (in {where})" if where else self.message


class RetryableError(ComponentError):
    """Waiting and trying the same thing again may help.

    Args:
        message: What happened.
        retry_after: Seconds the other side asked to wait, if it did.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, help: str | None = None) -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.retry_after = retry_after


class GaveUp(RetryableError):  # noqa: N818
    """A remote system did not answer, although it was tried as often and as long as the options say.

    Later it may help to try again. The engine does so at once only when the contract asks for its retries.
    """

    exit_code = 6


class FatalError(ComponentError):
    """Trying again cannot help."""


class UnexpectedError(FatalError):
    """A component raised what it had not announced; that is the cause."""


class SourceUnavailable(FatalError):  # noqa: N818
    """The remote source does not answer or does not let us in."""

    exit_code = 6


class DestinationBusy(FatalError):  # noqa: N818
    """Another run is writing the same destination; trying again later can help."""

    exit_code = 75


class OutputClosed(FatalError):  # noqa: N818
    """Whoever reads our output has closed it, as ``head`` does; no reason to complain on a terminal."""

    exit_code = 141


class MissingExtraError(CatalogError):
    """A feature needs a package that is not installed; the message names the install command."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra that is not installed: pip install 'etlctl[{extra}]'")


class RecordRejected(ComponentError):  # noqa: N818
    """One record cannot be handled; it goes to the dead letters and the run goes on.

    Args:
        rule: Stable dotted name, such as ``convert.integer``.
        message: Which value broke which rule.
        field: The field concerned, if it is one field.
    """

    def __init__(self, rule: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.field = field


class RecordFailed(FatalError):  # noqa: N818
    """One record breaks a rule that is to end the run (``on_violation: fail``).

    Args:
        index: 0-based ordinal of its source record, among the readable ones of the chunk in hand.
        rule: Stable dotted name, such as ``check.minimum``.
        message: Which value broke which rule.
    """

    exit_code = 5

    def __init__(self, index: int, rule: str, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.rule = rule


class ConversionError(EtlctlError):
    """Rows and frame cannot be turned into each other without losing something."""


class LimitError(EtlctlError):
    """A limit the user set was reached: memory, error threshold or dead-letter budget."""

    exit_code = 5


class StateError(EtlctlError):
    """The state store is behind, locked, damaged or used by someone else."""

    exit_code = 7


class NotInLedgerError(StateError):
    """No run or dead letter has the id that was asked for, or several have it."""

    exit_code = 2


class RunBusyError(StateError):
    """Another process holds the stream or the run key now; the message names it."""

    exit_code = 75


class FencedError(StateError):
    """Another process has taken the run over with a newer fence; nothing more was committed by this one."""


class CheckpointError(StateError):
    """A checkpoint cannot be gone by: damaged, of another contract, or ahead of what the destination holds."""


class ResumeRefused(StateError):  # noqa: N818
    """Carrying on, or beginning anew, would mix or double records; the help says what to do instead."""


class RunStopped(EtlctlError):  # noqa: N818
    """A signal or a caller stopped the run; the batch in hand is safe."""

    exit_code = 130


class ServiceError(EtlctlError):
    """An error answer of the HTTP service.

    Args:
        status: HTTP status code.
        code: Stable problem code.
    """

    def __init__(self, message: str, *, status: int, code: str, details: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details
