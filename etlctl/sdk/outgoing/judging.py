"""What an answer says of each record that was sent: taken, refused, or to be sent again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.sdk.outbox import Outcome, Parcel, Refused
from etlctl.sdk.outgoing.options import TAKEN, Answers
from etlctl.sdk.outgoing.templates import lookup

REFUSED = "load.refused"
"""Rule of records that the destination refused."""
_EXCERPT = 500
_DENIED = (401, 403, 407)
_UNKNOWN = "nobody knows which records were taken"


@frozen
class Verdict:
    """What became of a request.

    Attributes:
        outcome: What can be noted of it.
        parts: Records, counted within the request, that go into new requests.
        trouble: Why some of them are to be tried later; None: they are not.
    """

    outcome: Outcome
    parts: Sequence[Sequence[int]] = ()
    trouble: str | None = None


class Judge:
    """Judges answers.

    Args:
        answers: What they mean.
        retried: Statuses that are worth another attempt.
    """

    def __init__(self, answers: Answers, retried: Sequence[int] = ()) -> None:
        self._answers = answers
        self._retried = frozenset(retried)

    def decides(self, status: int) -> bool:
        """Tell whether an answer with this status says something about the records, and not about the run."""
        return self._succeeds(status) or status in self._answers.reject

    def verdict(self, parcel: Parcel, status: int, body: bytes) -> Verdict:
        """Return what became of a request that was answered.

        Args:
            parcel: The request.
            status: Of the answer; one that ``decides``.
            body: Of the answer.

        Raises:
            FatalError: The answer does not say what it is to say, so that nobody knows what was taken.
        """
        if not self._succeeds(status):
            return self._refusal(parcel, status, body)
        if not self._answers.judges_bodies:
            return Verdict(Outcome(status))
        answer = _json(body, status)
        if self._answers.results_path is None:
            results: list[tuple[int, Any]] = [(number, answer) for number in range(len(parcel.records))]
        else:
            results = self._results(parcel, answer, status)
        return self._judged(parcel, status, results, [])

    def _succeeds(self, status: int) -> bool:
        wanted = self._answers.success
        return 200 <= status < 300 if wanted is None else status in wanted

    def _refusal(self, parcel: Parcel, status: int, body: bytes) -> Verdict:
        """Return what becomes of records whose request was refused."""
        count = len(parcel.records)
        if self._answers.results_path is not None and count > 1:
            try:
                results = self._results(parcel, _json(body, status), status)
            except FatalError:
                results = []
            if results:
                told = {number for number, _ in results}
                return self._judged(parcel, status, results, [one for one in range(count) if one not in told])
        if count == 1 or not parcel.items:
            said = f"the destination answered {status}: {self._words(body)}"
            return Verdict(Outcome(status, [Refused(place, REFUSED, said) for place in parcel.records]))
        # One of them is to blame: in halves the others get through.
        half = count // 2
        return Verdict(Outcome(status, moved=count), [range(half), range(half, count)])

    def _judged(self, parcel: Parcel, status: int, results: Sequence[tuple[int, Any]], again: list[int]) -> Verdict:
        refused, trouble = list[Refused](), None
        for number, result in results:
            told = lookup(result, self._answers.status_path) if self._answers.status_path else None
            if self._taken(result, told):
                continue
            words = self._message(result)
            if type(told) is int and told in _DENIED:
                raise FatalError(f"the destination answered {told} for a record of a batch: {words}")
            if type(told) is int and (told in self._retried or told >= 500):
                trouble = f"the destination answered {told} for a record of a batch: {words}"
                again.append(number)
                continue
            refused.append(Refused(parcel.records[number], REFUSED, f"the destination refused it: {words}"))
        again.sort()
        return Verdict(Outcome(status, refused, moved=len(again)), [again] if again else [], trouble)

    def _results(self, parcel: Parcel, answer: Any, status: int) -> list[tuple[int, Any]]:
        """Return the results with the numbers of their records."""
        path = self._answers.results_path or "$"
        found = answer if path == "$" else lookup(answer, path)
        if not isinstance(found, list):
            raise FatalError(
                f"the destination answered {status} without a list at results_path ({path}): {_shown(answer)}; "
                f"{_UNKNOWN}",
                help="correct response.results_path in load.yaml and resume the run",
            )
        if self._answers.index_path is None:
            if len(found) != len(parcel.records):
                raise FatalError(
                    f"the destination answered {status} with {len(found):,} results for {len(parcel.records):,} "
                    f"records; {_UNKNOWN}",
                    help="if it only tells of some records, say where a result has its number: response.index_path",
                )
            return list(enumerate(found))
        return [(self._index(parcel, result), result) for result in found]

    def _index(self, parcel: Parcel, result: Any) -> int:
        path = self._answers.index_path or ""
        index = lookup(result, path)
        if type(index) is not int or not 0 <= index < len(parcel.records):
            raise FatalError(
                f"the destination tells of a record by {index!r} (at {path}), and the request has "
                f"{len(parcel.records):,} of them, counted from 0: {_shown(result)}",
                help="correct response.index_path in load.yaml and resume the run",
            )
        return index

    def _taken(self, result: Any, told: Any) -> bool:
        answers = self._answers
        if answers.ok_when is not None:
            return self._condition(result)
        if answers.status_path is None:  # only what went wrong is told
            return False
        if answers.ok is not None:
            return any(told == one and type(told) is type(one) for one in answers.ok)
        if type(told) is int:
            return 200 <= told < 300
        wanted = told.lower() if isinstance(told, str) else told
        return any(wanted == one and type(wanted) is type(one) for one in TAKEN)

    def _condition(self, result: Any) -> bool:
        from etlctl import jsonata  # noqa: PLC0415 - few contracts have one

        try:
            return jsonata.truthy(self._expression.evaluate(result))
        except jsonata.JsonataError as error:
            raise FatalError(
                f"response.ok_when cannot judge {_shown(result)}: {error}; {_UNKNOWN}",
                help="correct the expression in load.yaml and resume the run",
            ) from error

    @cached_property
    def _expression(self) -> Any:
        from etlctl import jsonata  # noqa: PLC0415

        return jsonata.compile(self._answers.ok_when or "")

    def _message(self, result: Any) -> str:
        found = lookup(result, self._answers.message_path) if self._answers.message_path else None
        return found[:_EXCERPT] if isinstance(found, str) and found else _shown(result if found is None else found)

    def _words(self, body: bytes) -> str:
        """Return what an answer says, as one line."""
        if self._answers.message_path is not None:
            try:
                found = lookup(json.loads(body), self._answers.message_path)
            except ValueError:
                found = None
            if found is not None:
                return found[:_EXCERPT] if isinstance(found, str) else _shown(found)
        return excerpt(body) or "it says nothing else"


def excerpt(body: bytes) -> str:
    """Return the beginning of a body as one line."""
    text = " ".join(body[: _EXCERPT * 4].decode("utf-8", "replace").split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


def _json(body: bytes, status: int) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise FatalError(
            f"the destination answered {status} with what is no JSON: {excerpt(body) or 'nothing'}; {_UNKNOWN}",
            help="if its answers say nothing of the records, take status_path, ok_when and results_path out of "
            "response in load.yaml, and resume the run",
        ) from None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
