"""What a contract says about its destination, for loaders: declared fields, and the guard of a replace."""

from __future__ import annotations

from etlctl.errors import LimitError
from etlctl.frozen import frozen


@frozen
class DeclaredField:
    """A field of the contract's schema.

    Attributes:
        type: ``string``, ``integer``, ``float``, ``decimal``, ``boolean``, ``date``, ``datetime``, ``time``,
            ``object``, ``array`` or ``any``.
        required: It has a value in every record.
    """

    type: str = "any"
    required: bool = False


@frozen
class ReplaceGuard:
    """Keeps a replace from throwing good data away.

    Attributes:
        max_shrink_percent: By how many percent the number of records may go down; None: by any.
        allow_empty: Replacing records by none at all is fine.
    """

    max_shrink_percent: float | None = None
    allow_empty: bool = False

    @property
    def counts_matter(self) -> bool:
        """Tell whether the number of records there now must be known; otherwise it is enough whether there are any."""
        return self.max_shrink_percent is not None

    def check(self, before: int, after: int, place: str) -> None:
        """Refuse a replace that shrinks too much.

        Args:
            before: Records there now; any number above 0 will do when ``counts_matter`` is False.
            after: Records that would take their place.
            place: The destination, for the message.

        Raises:
            LimitError: It shrinks more than allowed.
        """
        if not before:
            return
        if not after and not self.allow_empty:
            raise LimitError(
                f"refused to replace {place} by nothing: the run loaded 0 records; the old data stays",
                help="see whether the source is really empty; if that is fine: replace_guard: {allow_empty: true}",
            )
        if self.max_shrink_percent is None or not after:
            return
        shrink = 100 * (before - after) / before
        if shrink > self.max_shrink_percent:
            raise LimitError(
                f"refused to replace {before:,} records of {place} by {after:,}: {shrink:.1f} % fewer, "
                f"replace_guard.max_shrink_percent allows {self.max_shrink_percent:g} %; the old data stays",
                help="see whether the source is complete; if it is, raise replace_guard.max_shrink_percent",
            )
