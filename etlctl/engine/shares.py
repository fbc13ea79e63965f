"""What single destinations of a run took, as values: kept in their commit tokens until every destination is as far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from etlctl.batch import Rejection
from etlctl.engine.routing import Routed
from etlctl.frozen import frozen
from etlctl.sdk.loader import Published, Receipt

FANOUT = "fanout"
"""Key, in the account of a destination's commit token, of what is of this destination only."""


@frozen
class Share:
    """What one destination took of a batch.

    Attributes:
        seq: Number of the batch.
        extracted: Source records the batch stands for.
        handed: Records the destination was handed.
        records: Records it took.
        rejected: Records it refused; ``index`` is their place in the whole batch.
    """

    seq: int
    extracted: int
    handed: int
    records: int
    rejected: tuple[Rejection, ...] = ()

    def to_list(self) -> list[Any]:
        """Return the share as JSON values, without raw records and locations: the batch is there when it is read."""
        rejected = [[one.index, one.rule, _storable(one.message), one.field] for one in self.rejected]
        return [self.seq, self.extracted, self.handed, self.records, rejected]

    @classmethod
    def from_list(cls, values: Sequence[Any], step: str) -> Share:
        """Return the share of ``to_list``.

        Args:
            values: What that returned.
            step: Name of the destination's place in the contract.
        """
        seq, extracted, handed, records, rejected = values
        made = (Rejection(index, "load", step, rule, said, None, name) for index, rule, said, name in rejected)
        return cls(seq, extracted, handed, records, tuple(made))


@frozen
class Ahead:
    """What a destination's token says beside the run's account.

    Attributes:
        names: All destinations of the run, in order.
        base: Number of the last batch that every destination is known to hold.
        shares: What this destination took of each batch after that.
        again: A destination begins anew whenever the run is resumed, so nothing is ever held by all.
    """

    names: tuple[str, ...]
    base: int = 0
    shares: tuple[Share, ...] = ()
    again: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        shares = [share.to_list() for share in self.shares]
        return {"names": list(self.names), "base": self.base, "shares": shares, "again": self.again}

    @classmethod
    def of(cls, account: Mapping[str, Any], step: str) -> Ahead:
        """Return what a destination's token says; empty for one that was not written by several destinations."""
        values = account.get(FANOUT)
        if values is None:
            return cls(())
        shares = tuple(Share.from_list(one, step) for one in values["shares"])
        return cls(tuple(values["names"]), values["base"], shares, values["again"])


@frozen
class Dealt(Receipt):
    """What became of a batch at several destinations.

    Attributes:
        added: Records that came in addition, because some go to several destinations.
        filtered: Records that went nowhere, because no ``where`` holds.
        shares: What each destination took, by name.
    """

    added: int = 0
    filtered: int = 0
    shares: Mapping[str, Share] = field(default_factory=dict)


def rehearsed(routed: Routed) -> Dealt:
    """Return what would become of a batch that was dealt out, if every destination took all it is handed."""
    seq = routed.batch.seq
    shares = {route.name: Share(seq, 0, len(route.batch), len(route.batch)) for route in routed.routes}
    records = sum(share.records for share in shares.values())
    return Dealt(records, tuple(routed.refused), added=routed.added, filtered=routed.filtered, shares=shares)


@frozen
class PublishedEach(Published):
    """What several destinations made visible.

    Attributes:
        each: By name of the destination.
    """

    each: Mapping[str, Published] = field(default_factory=dict)


def _storable(text: str) -> str:
    # It goes into commit tokens, and a database takes no lone surrogate.
    return text.encode("utf-8", "backslashreplace").decode()
