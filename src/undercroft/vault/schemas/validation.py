"""Checking schemas, and data against them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.schemas.cost import SchemaCost
from undercroft.vault.schemas.errors import (
    CheckTooCostlyError,
    InvalidSchemaError,
    SchemaMismatchError,
)
from undercroft.vault.schemas.json_text import canonical, quote
from undercroft.vault.schemas.models import Definition
from undercroft.vault.schemas.pointers import is_within, join_pointer, split_pointer

LARGEST_SCHEMA: Final = 64 * 1024
"""Bytes, in canonical JSON."""
MOST_FIELDS: Final = 32
"""Of each sort."""
LONGEST_POINTER: Final = 256
_PATTERN_BYTES: Final = 256 * 1024
_MOST_WORK: Final = 10_000_000
"""Bytes of data times what the schema does for each: some 0.3 s, in which the whole process does nothing else."""
_MOST_ERRORS: Final = 50_000
"""The same for errors of alternatives, which the checker makes all at once: some 50 MB."""
_LONGEST_REASON: Final = 200


class SchemaValidator:
    """A schema, made ready for checking.

    Patterns run in an engine whose time grows with the text alone; look-around and back references, which would need
    another one, are refused. Messages name places and never quote a value.

    Raises:
        InvalidSchemaError: When it is no schema of draft 2020-12, refers to anything outside of itself, or could cost
            too much.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        if len(canonical(schema)) > LARGEST_SCHEMA:
            raise InvalidSchemaError(f"it is larger than {LARGEST_SCHEMA // 1024} KiB.")
        cost = SchemaCost(schema)
        cost.check()
        self._work = cost.work()
        self._errors = cost.errors() if cost.has_alternatives else 0
        try:
            self._validator = Draft202012Validator(
                dict(schema),
                validate_formats=True,
                offline=True,
                mask="the value",
                pattern_options=RegexOptions(
                    size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES
                ),
            )
        except ValidationError as error:
            pointer = _pointer(error)
            reason = (
                "a pattern should be a regular expression without look-around and back references, and not a huge one."
                if pointer.endswith("/pattern") or "patternProperties" in pointer
                else f"{quote(error.message)[:_LONGEST_REASON]}."
            )
            raise InvalidSchemaError(reason, pointer) from error

    def check(self, data: Mapping[str, Any]) -> None:
        """Refuse data that the schema does not allow.

        Raises:
            SchemaMismatchError: Naming the first place that is wrong.
            CheckTooCostlyError: When it is more data than the schema can be held against in reasonable time.
        """
        size = len(json.dumps(data, ensure_ascii=False))
        if size * self._work > _MOST_WORK:
            raise CheckTooCostlyError(_MOST_WORK // self._work)
        if self._validator.is_valid(data):
            return
        if size * self._errors > _MOST_ERRORS:
            raise SchemaMismatchError(
                "The data does not match its schema, and is too large for the place to be named.",
                "",
            )
        # The first alone: the checker would make all of them, each with a copy of what was not met.
        try:
            self._validator.validate(data)
        except ValidationError as problem:
            place = quote(_pointer(problem))
            raise SchemaMismatchError(
                f"The data does not match its schema: '{place or '/'}' {_reason(problem)}.", place
            ) from None  # it names members of the data, which no traceback should


def check_definition(definition: Definition) -> SchemaValidator:
    """Check a schema and the fields that are named with it.

    Raises:
        InvalidSchemaError: See :class:`SchemaValidator`.
        InvalidRequestError: When a field's pointer is none, or two sorts of fields contradict each other.
    """
    validator = SchemaValidator(definition.schema)
    for name, pointers in (
        ("plain_fields", definition.plain_fields),
        ("sensitive_fields", definition.sensitive_fields),
        ("indexed_fields", definition.indexed_fields),
        ("personal_fields", definition.personal_fields),
    ):
        _check_pointers(name, pointers)
    sensitive = definition.sensitive_fields
    for number, field in enumerate(sensitive):
        _refuse_overlap("sensitive_fields", field, sensitive[:number], "another sensitive field")
    for field in definition.plain_fields:
        _refuse_overlap("plain_fields", field, sensitive, "a sensitive field")
        _refuse_overlap("plain_fields", field, definition.indexed_fields, "an indexed field")
    return validator


def _check_pointers(name: str, pointers: Sequence[str]) -> None:
    if len(pointers) > MOST_FIELDS:
        raise InvalidRequestError(f"'{name}' should have at most {MOST_FIELDS} fields.", param=name)
    if len(set(pointers)) != len(pointers):
        raise InvalidRequestError(f"'{name}' names a field twice.", param=name)
    for pointer in pointers:
        try:
            tokens = split_pointer(pointer)
        except ValueError as error:
            raise InvalidRequestError(f"'{name}': {error}.", param=name) from error
        if not tokens or len(pointer) > LONGEST_POINTER:
            raise InvalidRequestError(
                f"'{name}' should hold JSON Pointers to members of the data, such as '/email', of at most "
                f"{LONGEST_POINTER} characters.",
                param=name,
            )


def _refuse_overlap(name: str, field: str, others: Sequence[str], what: str) -> None:
    if any(is_within(field, other) or is_within(other, field) for other in others):
        raise InvalidRequestError(
            f"'{name}': '{quote(field)}' is, contains or lies within {what}.", param=name
        )


def _pointer(error: ValidationError) -> str:
    pointer = ""
    for token in error.instance_path:
        pointer = join_pointer(pointer, token)
    return pointer


def _reason(problem: ValidationError) -> str:
    """What is wrong, without quoting the data: names of members that the schema does not have are data, too."""
    match problem.kind.name:
        case "additionalProperties" | "unevaluatedProperties":
            return "has a member that the schema does not allow"
        case "required" | "type" | "format" | "minimum" | "maximum" | "minLength" | "maxLength":
            return quote(problem.message).removeprefix("the value ")[:_LONGEST_REASON]
        case kind:
            return f"fails the schema's '{kind}'"
