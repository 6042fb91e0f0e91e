"""Commitments to single fields of a version, made with salts of the ledger's entry of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from undercroft.ledger.leaves import commit, derive_salt
from undercroft.vault.records.errors import OverlappingFieldsError
from undercroft.vault.schemas.json_text import canonical
from undercroft.vault.schemas.pointers import is_within, read_fields

MOST_FIELDS: Final = 32


@dataclass(frozen=True, slots=True)
class CommittedField:
    """A field, and what commits to its value.

    Attributes:
        value: Its canonical JSON.
        commitment: SHA-256 of the salt followed by the value, in hexadecimal.
    """

    pointer: str
    salt: bytes = field(repr=False)
    value: bytes = field(repr=False)
    commitment: str


def commit_fields(
    entry_id: UUID, salt: bytes, data: Mapping[str, Any], pointers: Sequence[str]
) -> tuple[CommittedField, ...]:
    """Those of the fields that are there, in the order of their pointers.

    The salts open one field of one version each: whoever was shown one learns nothing about another.

    Args:
        entry_id: The ledger's entry of the version.
        salt: The record's.
        data: What the version says.
        pointers: Of the fields.
    """
    found = read_fields(data, sorted(pointers))
    return tuple(
        _commit(pointer, derive_salt(salt, entry_id, f"field {pointer}"), canonical(value))
        for pointer, value in found.items()
    )


def check_pointers(pointers: Sequence[str]) -> None:
    """Refuse fields that are named twice, or lie in each other: each is shown or withheld by itself.

    Raises:
        OverlappingFieldsError: When some are.
    """
    for place, pointer in enumerate(pointers):
        for other in pointers[place + 1 :]:
            if is_within(pointer, other) or is_within(other, pointer):
                raise OverlappingFieldsError(pointer, other)


def _commit(pointer: str, salt: bytes, value: bytes) -> CommittedField:
    return CommittedField(pointer, salt, value, commit(salt, value))
