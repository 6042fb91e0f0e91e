"""A record's versions as they are stored: part 0 under the record's key, each sensitive field under one of its own.

Part 0 names the fields that the other parts hold. A part is bound to tenant, record, version and field: none can be
left out, moved to another record, version or field, or be taken from another tenant.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.kit.ids import render_id
from undercroft.vault.keys.models import DataKey
from undercroft.vault.records.models import Part
from undercroft.vault.schemas.json_text import canonical, load_canonical
from undercroft.vault.schemas.models import SCHEMA_PREFIX
from undercroft.vault.schemas.pointers import restore_fields

RECORD_KEY: Final = ""
"""Under which a record's own key stands among the keys of its fields."""


def version_content(schema_id: UUID, schema_version: int, data: Mapping[str, Any]) -> bytes:
    """The bytes of a version that the ledger commits to: what it says, and the schema that it was checked against."""
    schema = render_id(SCHEMA_PREFIX, schema_id)
    return canonical({"data": data, "schema": schema, "schema_version": schema_version})


def digest_version(schema_id: UUID, schema_version: int, data: Mapping[str, Any]) -> bytes:
    """SHA-256 of :func:`version_content`: what an entry of the ledger is given to commit to."""
    return hashlib.sha256(version_content(schema_id, schema_version, data)).digest()


def seal_version(
    place: tuple[UUID, UUID, int],
    remainder: Mapping[str, Any],
    fields: Mapping[str, Any],
    keys: Mapping[str, DataKey],
) -> list[Part]:
    """Encrypt a version.

    Args:
        place: Of the version: tenant, record and number.
        remainder: The data without its sensitive fields.
        fields: The sensitive fields' values by their pointers.
        keys: The record's key under ``""`` and one for each field.
    """
    content = canonical({"data": remainder, "fields": list(fields)})
    key = keys[RECORD_KEY]
    parts = [Part(0, key.id, seal(key.material, content, _context(place, RECORD_KEY)))]
    for number, (field, value) in enumerate(fields.items(), start=1):
        key = keys[field]
        sealed = seal(key.material, canonical(value), _context(place, field))
        parts.append(Part(number, key.id, sealed))
    return parts


def open_version(
    place: tuple[UUID, UUID, int], parts: Sequence[tuple[DataKey, bytes]]
) -> tuple[dict[str, Any], dict[str, DataKey]]:
    """The data of a version and the keys that it was encrypted with.

    Args:
        place: Of the version: tenant, record and number.
        parts: All of them in their order, with their keys.

    Raises:
        DecryptionError: When a part was altered, moved or left out.
    """
    (record_key, sealed), *rest = parts
    data, names = open_remainder(place, record_key, sealed, len(rest))
    fields = dict(zip(names, rest, strict=True))
    restore_fields(data, open_fields(place, fields))
    return data, {RECORD_KEY: record_key} | {name: key for name, (key, _) in fields.items()}


def open_remainder(
    place: tuple[UUID, UUID, int], key: DataKey, sealed: bytes, count: int
) -> tuple[dict[str, Any], list[str]]:
    """The data of a version without its sensitive fields, and the names of those, in the order of their parts.

    Args:
        place: Of the version: tenant, record and number.
        key: The record's.
        sealed: Part 0.
        count: How many other parts there are.

    Raises:
        DecryptionError: When the part was altered or moved, or another was left out.
    """
    content = load_canonical(unseal(key.material, sealed, _context(place, RECORD_KEY)))
    names: list[str] = content["fields"]
    if len(names) != count:
        raise DecryptionError
    return content["data"], names


def open_fields(
    place: tuple[UUID, UUID, int], parts: Mapping[str, tuple[DataKey, bytes]]
) -> dict[str, Any]:
    """The values of sensitive fields of a version, from their parts, by their pointers.

    Raises:
        DecryptionError: When a part was altered or moved.
    """
    return {
        name: load_canonical(unseal(key.material, sealed, _context(place, name)))
        for name, (key, sealed) in parts.items()
    }


def _context(place: tuple[UUID, UUID, int], field: str) -> bytes:
    tenant_id, record_id, version = place
    return bind(tenant_id, "record_parts", record_id, f"sealed{field}", version)
