"""Schemas as they are defined and read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

SCHEMA_PREFIX: Final = "schema_"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a version of a schema says. Fields are JSON Pointers to members of objects.

    Attributes:
        schema: A JSON Schema, draft 2020-12.
        plain_fields: Kept in the clear besides, and found by what they contain.
        sensitive_fields: Each encrypted under a key of its own.
        indexed_fields: Found by equality, through a keyed digest.
        personal_fields: Shared only while whom the record is about consents.
    """

    schema: Mapping[str, Any]
    plain_fields: tuple[str, ...] = ()
    sensitive_fields: tuple[str, ...] = ()
    indexed_fields: tuple[str, ...] = ()
    personal_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of a schema.

    Attributes:
        owner_id: Who made the schema, and alone may add versions to it and delete it.
        version: The version read, from 1; ``latest`` is the newest there is.
        created_at: When this version was made.
        salt: Of the ledger's commitments to the schema.
    """

    id: UUID
    owner_id: UUID
    name: str
    version: int
    latest: int
    definition: Definition
    created_at: datetime
    salt: bytes


@dataclass(frozen=True, slots=True)
class DamagedSchema:
    """A version of a schema that does not open: it was altered, moved or cut short. Its row can still be read."""

    id: UUID
    owner_id: UUID
    version: int
    latest: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SchemaPage:
    """Some schemas of a list, and whether there are more behind them."""

    schemas: Sequence[Schema | DamagedSchema]
    has_more: bool
