"""An operation that makes personal data unreadable says so, and the engine keeps the plain values out of its records.

A dead letter holds the source record as it was read. Of a contract that masks it holds the masked one instead, with
the names of the masked fields beside it, so that a replay knows what is done already.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Self

from etlctl.batch import Record
from etlctl.sdk.operation import Operation

MASKED = "__masked__"
"""Field of a dead letter's record that names the fields which were masked in it."""
CONCEALED = "(concealed: the contract masks personal data)"
"""Stands for what may hold personal data and cannot be masked field by field."""


class Concealing(Operation):
    """Makes fields unreadable before anything else sees them.

    As the first step (or among the first, if there are several) it keeps the plain values out of everything that the
    run leaves behind. Behind other steps it cannot: then nothing at all is kept of rejected records.
    """

    @property
    @abstractmethod
    def concealed(self) -> tuple[str, ...]:
        """Names of the fields it makes unreadable."""

    @property
    def guessable(self) -> tuple[str, ...]:
        """Fields whose plain values can be found out by trying possible ones."""
        return ()

    @abstractmethod
    def conceal(self, record: Record) -> Record:
        """Return a copy of a source record that may be kept. Never fails: what it cannot mask is left out."""

    @abstractmethod
    def after(self, fields: Iterable[str]) -> Self:
        """Return the operation for records in which these fields are masked already: it leaves them as they are."""
