"""The table of diagnostic codes: E1 YAML, E2 keys and files, E3 components, E4 variables, E5 fields, W6 warnings."""

from __future__ import annotations

from enum import StrEnum

from etlctl.diagnostics import Diagnostic, Severity, Span


class Code(StrEnum):
    """Every code a diagnostic of a contract can have; ``etlctl explain CODE`` tells more about each."""

    yaml_syntax = "E101"
    duplicate_key = "E102"
    yaml_limit = "E103"
    yaml_tag = "E104"
    unreadable_file = "E105"

    unknown_key = "E201"
    missing_key = "E202"
    wrong_type = "E203"
    invalid_value = "E204"
    refused_options = "E205"
    missing_file = "E206"
    both_layouts = "E207"
    no_contract = "E208"
    mixed_transform = "E209"
    transform_shape = "E210"
    unusable_name = "E211"

    unknown_component = "E301"
    unknown_operation = "E302"
    unknown_convert_type = "E303"
    broken_component = "E304"

    variable_syntax = "E401"
    unset_variable = "E402"
    missing_parameter = "E403"
    unknown_parameter = "E404"
    parameter_type = "E405"

    unknown_field = "E501"
    dropped_field = "E502"
    field_collision = "E503"
    unlike_types = "E504"
    expression_syntax = "E510"
    unknown_function = "E511"
    jsonata_syntax = "E512"

    batch_step_in_streaming = "W601"
    literal_secret = "W602"  # noqa: S105

    @property
    def severity(self) -> Severity:
        """Error for E codes, warning for W codes."""
        return Severity.warning if self.value.startswith("W") else Severity.error

    def at(
        self,
        file: str,
        span: Span | None,
        message: str,
        *,
        help: str | None = None,  # noqa: A002
        related: tuple[tuple[str, Span, str], ...] = (),
    ) -> Diagnostic:
        """Return a diagnostic of this code."""
        return Diagnostic(self.value, self.severity, file, span, message, help, related)
