"""The parameter sets of ``run_multiple``: what was given, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.errors import ContractError, EtlctlError
from etlctl.frozen import frozen

if TYPE_CHECKING:
    from etlctl.contract.checked import Checked
    from etlctl.contract.sections import InputParam

_KEY_DIGITS = 8


class ParamSetError(ContractError, ValueError):
    """The parameter sets cannot be run as they were given; nothing ran."""

    exit_code = 2


@frozen
class ParamSet:
    """The parameters of one run.

    Attributes:
        params: As they were given.
        key: Short hash of them together with what all sets share, equal for values that mean the same: it makes the
            run keys of the sets differ.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.params.items()) or "(no parameters)"


@frozen
class GivenSets:
    """Parameter sets as they were given, and the contract they are for.

    Attributes:
        contract_dir: The contract.
        shared: Parameters that every set has unless it says otherwise.
        environ: Environment variables; None is the process's own.
        param_name: The parameter that varies, with ``param_values``.
        param_values: Its values.
        param_sets: Whole sets, instead of the two.
    """

    contract_dir: Path
    shared: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] | None = None
    param_name: str | None = None
    param_values: Sequence[Any] | None = None
    param_sets: Sequence[Mapping[str, Any]] | None = None

    def sets(self) -> list[Mapping[str, Any]]:
        """Return the sets, in whichever way they were given.

        Raises:
            ParamSetError: Neither or both ways were taken, or there are no sets, or they are no mappings.
        """
        by_name = self.param_name is not None or self.param_values is not None
        half = (self.param_name is None) is not (self.param_values is None)
        if half or by_name is (self.param_sets is not None):
            raise ParamSetError("Must provide either (param_name + param_values) OR param_sets")
        if self.param_sets is None:
            values = _listed(self.param_values, "param_values must be a non-empty list of values")
            return [{str(self.param_name): value} for value in values]
        complaint = "param_sets must be a non-empty list of dictionaries"
        sets = _listed(self.param_sets, complaint)
        for number, one in enumerate(sets, start=1):
            if not isinstance(one, Mapping) or not all(isinstance(name, str) for name in one):
                raise ParamSetError(f"{complaint}: set {number} is {one!r}")
        return sets


def _listed(given: Any, complaint: str) -> list[Any]:
    # A text or a mapping can be gone through as well, but nobody means its letters or its keys.
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__iter__"):
        raise ParamSetError(f"{complaint}, not {given!r}")
    found = list(given)
    if not found:
        raise ParamSetError(complaint)
    return found


def prepared_sets(given: GivenSets, warn: Callable[[str], None]) -> list[ParamSet]:
    """Hold the sets against the contract before anything runs; what is wrong with a single set is left to its run.

    Args:
        given: The sets.
        warn: Told when the runs would overwrite each other.

    Raises:
        ParamSetError: The sets are not given as they should be, or two of them are equal.
        ContractError: The parameter that varies is none of the contract's.
    """
    from etlctl.contract.compile import check_contract  # noqa: PLC0415

    sets, shared = given.sets(), given.shared
    looked = [
        check_contract(given.contract_dir, params={**shared, **one}, environ=given.environ)
        for one in (sets[0], sets[-1])
    ]
    if given.param_name is not None:
        _refuse_unknown(given.param_name, looked[0])
    made: dict[str, int] = {}
    prepared = []
    for number, one in enumerate(sets, start=1):
        text = _canonical({**shared, **one}, looked[0].declared)
        first = made.setdefault(text, number)
        if first != number:
            raise ParamSetError(
                f"parameter sets {first} and {number} are equal ({ParamSet(one)}): the same records would be loaded "
                "twice",
                help="remove one of them",
            )
        prepared.append(ParamSet(one, hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]))
    if len(sets) > 1:
        _warn_of_overwriting(looked, warn)
    return prepared


def _refuse_unknown(name: str, checked: Checked) -> None:
    from etlctl.contract.codes import Code  # noqa: PLC0415

    for found in checked.diagnostics:
        if found.code == Code.unknown_parameter and repr(name) in found.message:
            raise ContractError(found.message, [found], help=found.help)


def _canonical(params: Mapping[str, Any], declared: Mapping[str, InputParam]) -> str:
    """Return a text that is equal for parameters that mean the same: ``"5"`` and ``5`` do for an integer."""
    from etlctl.contract.parameters import convert_parameter  # noqa: PLC0415

    values = {}
    for name, value in params.items():
        if value is None:
            continue  # as if it had not been given
        try:
            values[name] = convert_parameter(declared[name], value) if name in declared else value
        except ValueError:
            values[name] = value  # its run will say so
    return json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)


def _warn_of_overwriting(looked: Sequence[Checked], warn: Callable[[str], None]) -> None:
    one, another = (checked.loader for checked in looked)
    if one is None or one != another:
        return
    try:
        replaces = one.additive() != one
    except EtlctlError:
        return
    if replaces:
        warn(
            "every parameter set replaces what the one before it has loaded, for all of them write to the same place: "
            "put a parameter into the path or the table of load.yaml, or choose write_method: append"
        )
