"""The whole result of a run as the ledger keeps it: what a run key that was used before gives back."""

from __future__ import annotations

import json
from typing import Any

from etlctl.redact import Redactor
from etlctl.run import RunResult
from etlctl.state.column_values import json_text
from etlctl.state.payload import mask

_WORDED = ("contract", "error", "error_help", "report", "run_key", "failed_step")
_SAID = ("rule", "name", "field", "message", "location")
_DERIVED = ("success", "records", "duration_seconds", "resume_command")


def result_text(result: RunResult, redactor: Redactor) -> str:
    """Return a result as JSON text, secrets masked in what users, sources and servers worded.

    Only there: a password that is ``2026`` must not blank out times and counts.
    """
    kept: dict[str, Any] = {name: value for name, value in result.to_dict().items() if name not in _DERIVED}
    for name in _WORDED:
        kept[name] = mask(kept[name], redactor)
    kept["params"] = mask(kept["params"], redactor)
    kept["destinations"] = mask(kept["destinations"], redactor)
    kept["by_destination"] = [{**one, "place": mask(one["place"], redactor)} for one in kept["by_destination"]]
    for name in ("violations", "checks"):
        kept[name] = [_worded(one, redactor) for one in kept[name]]
    worded = ("name", "why")
    kept["steps"] = [{**step, **{key: redactor.text(step[key]) for key in worded}} for step in kept["steps"]]
    return json_text(kept)


def _worded(finding: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    return {key: mask(value, redactor) if key in _SAID else value for key, value in finding.items()}


def stored_result(text: str | None) -> RunResult | None:
    """Return the result of ``result_text``; None when there is none, or none this version can read."""
    if text is None:
        return None
    try:
        return RunResult.from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
