"""How a checkpoint is written down: as JSON values without secrets, with a checksum, and read again only when whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from etlctl.checkpoint import VERSION, Checkpoint
from etlctl.errors import CheckpointError, FencedError, NotInLedgerError
from etlctl.ids import is_safe_name
from etlctl.redact import Redactor
from etlctl.state.column_values import utc
from etlctl.state.payload import JSON_FORM, decode_raw, encode_raw, storable

LISTING = "etlctl checkpoints list"


def check_id(checkpoint_id: str) -> str:
    """Return the id if it is one.

    Raises:
        CheckpointError: It could name something else than a checkpoint.
    """
    if not is_safe_name(checkpoint_id):
        raise CheckpointError(
            f"{checkpoint_id!r} cannot name a checkpoint",
            help="use letters, digits, '_', '.' and '-', beginning with a letter or a digit, at most 128 in all",
        )
    return checkpoint_id


def canonical(value: Any) -> str:
    """Return JSON values as the one text that the checksum is over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def checksum(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, in hexadecimal."""
    return hashlib.sha256(canonical(values).encode()).hexdigest()


def written(checkpoint: Checkpoint, redactor: Redactor, at: datetime) -> dict[str, Any]:
    """Return a checkpoint as the JSON values to store.

    Parameters and position are needed to resume, so they are kept as they are; when a secret is in them they are
    masked, and it is noted that they cannot be gone by.

    Args:
        checkpoint: Where a run stands.
        redactor: Knows the secrets.
        at: When it moved, unless it says itself.

    Raises:
        CheckpointError: Its id is none, or its position is not JSON.
    """
    values = checkpoint.to_dict()
    params, params_redacted = _exact(values["params"], redactor)
    if params is None:
        params, params_redacted = {}, True
    position, position_redacted = _exact(values["position"], redactor)
    if position is None and checkpoint.position is not None:
        raise CheckpointError(f"the position {checkpoint.position!r} of checkpoint {checkpoint.id} is not JSON")
    return {
        **values,
        "id": check_id(checkpoint.id),
        **{name: _text(values[name], redactor) for name in ("stream", "contract", "contract_path", "error")},
        "params": params,
        "params_redacted": params_redacted or checkpoint.params_redacted,
        "position": position,
        "position_redacted": position_redacted,
        "account": redactor.value(values["account"]),
        "started_at": utc(checkpoint.started_at).isoformat(),
        "updated_at": utc(checkpoint.updated_at or at).isoformat(),
    }


def restored(values: Mapping[str, Any], checkpoint_id: str, where: str) -> Checkpoint:
    """Return the checkpoint of JSON values whose checksum was found to be right.

    Args:
        values: As ``written`` made them.
        checkpoint_id: The id it was asked for by.
        where: The place, for people.

    Raises:
        CheckpointError: It is another checkpoint, or lacks something.
    """
    if values.get("id") != checkpoint_id:
        raise damaged(checkpoint_id, where, f"holds the checkpoint {values.get('id')!r}: it was copied or renamed")
    if values.get("position_redacted"):
        raise CheckpointError(
            f"checkpoint {checkpoint_id} ({where}) cannot be gone by: its position holds a secret, which is not stored",
            help=_advice(checkpoint_id),
        )
    try:
        found = Checkpoint.from_dict(values)
        params, position = (
            decode_raw(canonical(found.params), JSON_FORM),
            decode_raw(canonical(found.position), JSON_FORM),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise damaged(checkpoint_id, where, f"lacks something ({type(error).__name__}: {error})") from error
    return replace(found, params=params, position=position)


def check_version(version: Any, checkpoint_id: str, where: str) -> None:
    """Refuse a version of the form that this etlctl does not know.

    Raises:
        CheckpointError: It is newer.
    """
    if isinstance(version, int) and version > VERSION:
        raise CheckpointError(
            f"checkpoint {checkpoint_id} ({where}) has version {version}, which this etlctl (up to {VERSION}) does not "
            "know: a newer one wrote it",
            help=f"upgrade etlctl: pip install --upgrade etlctl; or delete it with: etlctl checkpoints delete "
            f"{checkpoint_id}",
        )


def damaged(checkpoint_id: str, where: str, what: str) -> CheckpointError:
    """Return the error for a checkpoint that cannot be read.

    Args:
        checkpoint_id: Which.
        where: The place, for people.
        what: What is wrong with it, to follow its name.
    """
    return CheckpointError(f"checkpoint {checkpoint_id} is damaged: {where} {what}", help=_advice(checkpoint_id))


def missing(checkpoint_id: str, where: str) -> NotInLedgerError:
    """Return the error for a checkpoint that is not there."""
    return NotInLedgerError(
        f"there is no checkpoint {checkpoint_id!r} in {where}",
        help=f"a run that is done leaves none; see those that are left with: {LISTING}",
    )


def check_successor(new: Mapping[str, Any], old: Mapping[str, Any], where: str) -> None:
    """Refuse to put a checkpoint in the place of one that it must not overwrite.

    Raises:
        FencedError: The old one is of a newer fence.
        CheckpointError: The old one is of another stream, or of a newer version.
    """
    check_version(old.get("version"), new["id"], where)
    if old.get("stream") != new["stream"]:
        raise CheckpointError(
            f"checkpoint {new['id']} ({where}) is one of {old.get('stream')} (run {old.get('run_id')}) and is not "
            f"overwritten by one of {new['stream']}",
            help=f"choose another checkpoint id, or delete it with: etlctl checkpoints delete {new['id']}",
        )
    if isinstance(old.get("fence"), int) and old["fence"] > new["fence"]:
        raise FencedError(
            f"checkpoint {new['id']} ({where}) was written under lease {old['fence']} by run {old.get('run_id')}; this "
            f"run has lease {new['fence']} only: another process has taken it over",
            help="nothing more was committed by this process and nothing is to be done",
        )


def _advice(checkpoint_id: str) -> str:
    return (
        f"delete it with: etlctl checkpoints delete {checkpoint_id}, and start again; or resume anyway: not the "
        "checkpoint but the destination's own commit token tells what is loaded"
    )


def _exact(value: Any, redactor: Redactor) -> tuple[Any, bool]:
    """Return a value as JSON values that come back as it was, None if there are none, and whether it was masked."""
    text, form, redacted = encode_raw(value, redactor)
    return (json.loads(text) if form == JSON_FORM else None), redacted


def _text(text: str | None, redactor: Redactor) -> str | None:
    return None if text is None else storable(redactor.text(text))
