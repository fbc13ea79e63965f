"""The table of diagnostic codes: E1 YAML, E2 keys, E3 components, E4 variables, E5 fields, W6 warnings, 7 changes."""

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
    clashing_destinations = "E212"

    unknown_component = "E301"
    unknown_operation = "E302"
    unknown_convert_type = "E303"
    broken_component = "E304"

    variable_syntax = "E401"
    unset_variable = "E402"
    missing_parameter = "E403"
    unknown_parameter = "E404"
    parameter_type = "E405"
    cursor_not_incremental = "E406"
    cursor_without_first = "E407"

    unknown_field = "E501"
    dropped_field = "E502"
    field_collision = "E503"
    unlike_types = "E504"
    expression_syntax = "E510"
    unknown_function = "E511"
    jsonata_syntax = "E512"

    batch_step_in_streaming = "W601"
    literal_secret = "W602"  # noqa: S105
    cursor_never_moves = "W603"
    replaced_increment = "W604"
    late_mask = "W610"
    unkeyed_mask = "W611"
    parent_of_all_records = "W620"
    jsonata_call = "W621"
    jsonata_field = "W622"

    contract_removed = "E700"
    field_removed = "E701"
    field_type_changed = "E702"
    guarantee_dropped = "E703"
    enum_widened = "E704"
    key_changed = "E705"
    destination_changed = "E706"
    write_method_changed = "E707"
    parameter_removed = "E708"
    parameter_required = "E709"
    parameter_type_changed = "E710"
    rules_loosened = "W711"
    rules_tightened = "W712"
    version_not_raised = "W713"
    additional_fields_changed = "W714"
    parameter_default_changed = "W715"
    contract_renamed = "W716"
    field_added = "I721"
    parameter_added = "I722"
    destination_added = "I723"
    operation_changed = "I724"

    @property
    def severity(self) -> Severity:
        """Error for E codes, warning for W codes, info for I codes."""
        return {"W": Severity.warning, "I": Severity.info}.get(self.value[0], Severity.error)

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
