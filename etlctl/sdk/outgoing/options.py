"""Options of how requests are made of records and how their answers are judged."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

REFUSING = (400, 404, 409, 410, 413, 422)
"""Statuses that say something about the records, and not about the run."""

TAKEN: tuple[str | int | bool, ...] = ("ok", "success", "succeeded", "created", "updated", "accepted", True)
"""What a status in words says of a record that was taken; numbers from 200 to 299 do, too."""

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")  # RFC 9110, 5.6.2


class OutgoingModel(BaseModel):
    """Base of the options in here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Idempotency(OutgoingModel):
    """How a request that is sent again is recognised by the server."""

    header: str = Field(default="Idempotency-Key", min_length=1)
    """Header that carries the key."""
    fields: str | list[str] | None = None
    """Fields that name a record. The key is then made of the contract, these fields and the content, and a later run that sends the same content of the same record sends the same key: the server may take it for done, also when the record had other content in between. Without them the key is made of the run, the place in it and the content: every run sends everything once."""  # noqa: E501

    @field_validator("header")
    @classmethod
    def _is_a_name(cls, header: str) -> str:
        if "${" not in header and not set(header) <= _TOKEN:
            raise ValueError(f"{header!r} is no name of a header")
        return header

    @field_validator("fields")
    @classmethod
    def _names_something(cls, fields: str | list[str] | None) -> str | list[str] | None:
        names = [fields] if isinstance(fields, str) else fields
        if names is not None and (not names or not all(names) or len(set(names)) < len(names)):
            raise ValueError("names no field, an empty one, or one twice; if nothing names a record, leave it out")
        return fields

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that name a record."""
        if self.fields is None:
            return ()
        return (self.fields,) if isinstance(self.fields, str) else tuple(self.fields)


class Answers(OutgoingModel):
    """What an answer says of the records that were sent."""

    success: list[int] | None = None
    """Statuses that mean the records were taken; 200 to 299 when left out."""
    reject: list[int] = Field(default_factory=lambda: list(REFUSING))
    """Statuses that refuse the records: they go to the dead letters with what the server said."""
    results_path: str | None = Field(default=None, min_length=1)
    """Where a batch's answer has its list of results, one for each record in order: ``data.results``; ``$`` when the answer is the list."""  # noqa: E501
    index_path: str | None = Field(default=None, min_length=1)
    """Where a result tells which record it is of, counted from 0: then the list may leave out those that were taken."""
    status_path: str | None = Field(default=None, min_length=1)
    """Where a result (with ``mode: record``: the answer) tells how it went: a number like an HTTP status, a word, or true and false."""  # noqa: E501
    ok: list[str | int | bool] | None = None
    """Values at ``status_path`` that mean the record was taken; 200 to 299, ``ok``, ``success``, ``created`` and the like, and true when left out."""  # noqa: E501
    ok_when: str | None = Field(default=None, min_length=1)
    """JSONata on a result (with ``mode: record``: on the answer) that is true when the record was taken."""
    message_path: str | None = Field(default=None, min_length=1)
    """Where a result tells what was wrong, for the dead letter; the whole result when left out."""

    @field_validator("ok_when")
    @classmethod
    def _readable(cls, expression: str | None) -> str | None:
        if expression is None or "${" in expression:
            return expression
        from etlctl.sdk.evaluating import readable  # noqa: PLC0415 - few contracts have one

        return readable(expression)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.status_path and self.ok_when:
            raise ValueError("status_path and ok_when both tell how it went; keep one")
        if self.ok is not None and not self.status_path:
            raise ValueError("ok lists values of status_path; say where that is")
        if self.index_path and not self.results_path:
            raise ValueError("index_path is a part of a result; say where the results are: results_path")
        if self.results_path and not (self.index_path or self.status_path or self.ok_when):
            raise ValueError(
                "results_path needs status_path, ok_when or index_path, to tell a good result from a bad one"
            )
        both = sorted(set(self.success or ()) & set(self.reject))
        if both and "reject" in self.model_fields_set:
            raise ValueError(f"{', '.join(map(str, both))} cannot both mean taken (success) and refused (reject)")
        return self

    @property
    def judges_bodies(self) -> bool:
        """Tell whether the body of an answer says how it went."""
        return bool(self.results_path or self.status_path or self.ok_when)


def shape_problem(
    url: str,
    mode: str,
    answers: Answers,
    *,
    body: Any,
    records_key: str | None,
    batch_body: Any,
    per_request: int | None,
) -> str | None:
    """Return what is wrong with how requests are to look; None when nothing is."""
    from etlctl.expression import TemplateError  # noqa: PLC0415
    from etlctl.sdk.outgoing.templates import UrlTemplate, compiled  # noqa: PLC0415

    try:
        fields = UrlTemplate(url).fields
        compiled(body)
        compiled(batch_body)
    except TemplateError as error:
        return error.message
    except ValueError as error:
        return str(error)
    several = {"records_per_request": per_request, "records_key": records_key, "batch_body": batch_body}
    if mode == "record":
        return _record_problem(several, answers)
    if fields:
        return f"mode: batch has one address for several records: ${{{fields[0]}}} cannot stand in url"
    if (answers.status_path or answers.ok_when) and answers.results_path is None:
        return "with mode: batch, say where the answer has its results: response.results_path"
    return _batch_body_problem(records_key, batch_body)


def _record_problem(several: dict[str, Any], answers: Answers) -> str | None:
    for name, value in several.items():
        if value is not None:
            return f"{name} is for requests with several records: add mode: batch, or leave it out"
    for name in ("results_path", "index_path"):
        if getattr(answers, name) is not None:
            return f"response.{name} is for requests with several records: add mode: batch, or leave it out"
    return None


def _batch_body_problem(records_key: str | None, batch_body: Any) -> str | None:
    from etlctl.sdk.outgoing.templates import RECORDS, batch_places, fields_of  # noqa: PLC0415

    if batch_body is None:
        return None
    if records_key is not None:
        return "records_key and batch_body both say what the body looks like; keep one"
    if batch_places(batch_body) != 1:
        return f"batch_body needs {RECORDS} exactly once, as a whole value: it stands for the list of records"
    others = sorted(fields_of(batch_body) - {"records"})
    return (
        f"batch_body is of several records: ${{{others[0]}}} cannot stand in it; put it into body" if others else None
    )
