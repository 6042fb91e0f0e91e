"""Schemas: everybody in the tenant may use them, who made one may change it."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import structlog
from asyncpg import ForeignKeyViolationError, Record

from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.lru import LruCache
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.schemas.errors import NotSchemaAdminError, SchemaInUseError, StaleVersionError
from undercroft.vault.schemas.fitting import count_fitting
from undercroft.vault.schemas.json_text import canonical, load_canonical
from undercroft.vault.schemas.models import (
    SCHEMA_PREFIX,
    DamagedSchema,
    Definition,
    Schema,
    SchemaPage,
)
from undercroft.vault.schemas.repository import SchemaRepository
from undercroft.vault.schemas.validation import SchemaValidator, check_definition

_log: Final = structlog.stdlib.get_logger(__name__)

_CACHED: Final = 256
"""Schemas that are ready for checking: at most some hundred KiB each."""


class SchemaService:
    """Makes, versions, reads and deletes schemas; gives records what checks them."""

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger, ids: IdSource) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._ids = ids
        self._repository = SchemaRepository()
        self._validators: LruCache[tuple[UUID, int], SchemaValidator] = LruCache(_CACHED)

    async def create(self, scope: Scope, name: str, definition: Definition) -> Schema:
        """Make version 1 of a schema.

        Raises:
            InvalidSchemaError: When the schema is none, or could cost too much.
            InvalidRequestError: When its fields contradict each other.
        """
        await asyncio.to_thread(check_definition, definition)
        schema_id = self._ids.new()
        async with self._database.transaction(scope) as transaction:
            key = await self._keys.create(transaction, scope)
            await self._repository.insert_schema(
                transaction,
                schema_id,
                key.id,
                seal(key.material, name.encode(), _name_context(scope, schema_id)),
            )
            await self._insert_version(transaction, scope, schema_id, 1, key, definition)
            schema = await self._get(transaction, schema_id, None)
            await self._append(transaction, scope, "schema.create", schema, definition)
        return schema

    async def add_version(
        self,
        scope: Scope,
        schema_id: UUID,
        definition: Definition,
        expected: frozenset[int] | None = None,
    ) -> Schema:
        """Add a version to a schema. Records stay with the version that they were checked against.

        Args:
            scope: Whose schema it is.
            schema_id: Which.
            definition: What the new version says.
            expected: The latest versions that the caller means; None for any.

        Raises:
            NotFoundError: When the tenant has no such schema.
            NotSchemaAdminError: When it is another's.
            StaleVersionError: When its latest version is none of the expected ones.
            InvalidSchemaError: When the schema is none, or could cost too much.
            InvalidRequestError: When its fields contradict each other.
        """
        await asyncio.to_thread(check_definition, definition)
        async with self._administered(scope, schema_id, "schema.update") as (transaction, latest):
            _check_version(latest["number"], expected)
            key = await self._keys.open(latest)
            number = latest["number"] + 1
            await self._insert_version(transaction, scope, schema_id, number, key, definition)
            await self._repository.advance_schema(transaction, schema_id, number)
            schema = await self._get(transaction, schema_id, number)
            await self._append(transaction, scope, "schema.update", schema, definition)
        return schema

    async def delete(
        self, scope: Scope, schema_id: UUID, expected: frozenset[int] | None = None
    ) -> None:
        """Delete a schema and its versions, a damaged one as well.

        Raises:
            NotFoundError: When the tenant has no such schema.
            NotSchemaAdminError: When it is another's.
            StaleVersionError: When its latest version is none of the expected ones.
            SchemaInUseError: While there are records of it.
        """
        async with self._administered(scope, schema_id, "schema.delete") as (transaction, latest):
            _check_version(latest["number"], expected)
            subject = Subject(render_id(SCHEMA_PREFIX, schema_id), latest["salt"])
            act = Act("schema.delete", subject, latest["owner_id"], latest["number"])
            await self._ledger.append(transaction, scope, act)
            try:
                await self._repository.delete_schema(transaction, schema_id)
            except ForeignKeyViolationError as error:
                raise SchemaInUseError(schema_id) from error

    async def get(self, scope: Scope, schema_id: UUID, number: int | None = None) -> Schema:
        """One version of a schema, the latest unless a number is given.

        Raises:
            NotFoundError: When there is none.
        """
        async with self._database.transaction(scope) as transaction:
            schema = await self._get(transaction, schema_id, number)
            await self._append(transaction, scope, "schema.read", schema)
        return schema

    async def list_schemas(self, scope: Scope, after: UUID | None, limit: int) -> SchemaPage:
        """A page of the latest versions of the tenant's schemas, oldest schema first."""
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_schemas(transaction, after, limit + 1)
            return await self._read_page(transaction, scope, rows, limit)

    async def list_versions(
        self, scope: Scope, schema_id: UUID, after: int, limit: int
    ) -> SchemaPage:
        """A page of the versions of a schema with numbers above ``after``.

        Raises:
            NotFoundError: When the tenant has no such schema.
        """
        async with self._database.transaction(scope) as transaction:
            await self._find(transaction, schema_id, None)
            rows = await self._repository.list_schema_versions(
                transaction, schema_id, after, limit + 1
            )
            return await self._read_page(transaction, scope, rows, limit)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a schema of the tenant's; None when it is gone."""
        del scope  # the transaction's own
        schema_id = parse_id(SCHEMA_PREFIX, reference)
        if schema_id is None:
            return None
        row = await self._repository.find_schema(transaction, schema_id, None)
        return None if row is None else row["salt"]

    async def read(
        self, transaction: Transaction, schema_id: UUID, number: int | None = None
    ) -> Schema:
        """A version of a schema, for what is done with records of it, in the transaction of that.

        Raises:
            NotFoundError: When there is none.
        """
        return await self._get(transaction, schema_id, number)

    async def require(self, transaction: Transaction, schema_id: UUID) -> None:
        """Refuse what names a schema that is not there, whether it opens or not.

        Raises:
            NotFoundError: When there is none.
        """
        await self._find(transaction, schema_id, None)

    async def key(self, transaction: Transaction, schema_id: UUID) -> DataKey:
        """The key of a schema, for what belongs to it.

        Raises:
            NotFoundError: When there is none.
        """
        return await self._keys.open(await self._find(transaction, schema_id, None))

    async def validator(self, schema: Schema) -> SchemaValidator:
        """What checks data against a schema that was read: versions never change, so it is made once."""
        place = (schema.id, schema.version)
        validator = self._validators.get(place)
        if validator is None:
            # Milliseconds, and more for a large schema: too long for the event loop.
            validator = await asyncio.to_thread(SchemaValidator, schema.definition.schema)
            self._validators.put(place, validator)
        return validator

    @asynccontextmanager
    async def _administered(
        self, scope: Scope, schema_id: UUID, action: Action
    ) -> AsyncGenerator[tuple[Transaction, Record]]:
        """A transaction that holds a schema locked, for its admin alone; and the row of its latest version."""
        find = find_target(SCHEMA_PREFIX, schema_id, self._repository.find_schema)
        async with recording_refusal(
            self._database, self._ledger, scope, action, find
        ) as transaction:
            # Locked by a statement of its own: only a later one sees the version that a lock's holder has added.
            await self._repository.lock_schema(transaction, schema_id)
            latest = await self._find(transaction, schema_id, None)
            if latest["owner_id"] != scope.principal_id:
                raise NotSchemaAdminError(schema_id)
            yield transaction, latest

    async def _find(self, transaction: Transaction, schema_id: UUID, number: int | None) -> Record:
        row = await self._repository.find_schema(transaction, schema_id, number)
        if row is None:
            what = "schema" if number is None else f"version {number} of a schema"
            raise NotFoundError(what, render_id(SCHEMA_PREFIX, schema_id))
        return row

    async def _get(self, transaction: Transaction, schema_id: UUID, number: int | None) -> Schema:
        return await self._open(await self._find(transaction, schema_id, number))

    async def _describe(self, row: Record) -> Schema | DamagedSchema:
        """One that does not open must not hide the others."""
        try:
            return await self._open(row)
        except DecryptionError:
            _log.error("schema_damaged", schema_id=str(row["id"]), version=row["number"])
            return DamagedSchema(
                row["id"],
                row["owner_id"],
                row["number"],
                row["current_version"],
                row["created_at"],
            )

    async def _open(self, row: Record) -> Schema:
        key = await self._keys.open(row)
        tenant_id, schema_id, number = row["key_tenant_id"], row["id"], row["number"]
        name = unseal(
            key.material, row["sealed_name"], bind(tenant_id, "schemas", schema_id, "sealed_name")
        )
        definition = load_canonical(
            unseal(
                key.material,
                row["sealed_definition"],
                _definition_context(tenant_id, schema_id, number),
            )
        )
        return Schema(
            schema_id,
            row["owner_id"],
            name.decode(),
            number,
            row["current_version"],
            Definition(
                definition["schema"],
                tuple(definition["plain_fields"]),
                tuple(definition["sensitive_fields"]),
                tuple(definition["indexed_fields"]),
                tuple(definition.get("personal_fields", ())),
            ),
            row["created_at"],
            key.salt,
        )

    async def _insert_version(
        self,
        transaction: Transaction,
        scope: Scope,
        schema_id: UUID,
        number: int,
        key: DataKey,
        definition: Definition,
    ) -> None:
        context = _definition_context(scope.tenant_id, schema_id, number)
        sealed = seal(key.material, _encode(definition), context)
        await self._repository.insert_schema_version(
            transaction, schema_id, number, sealed, definition.personal_fields
        )

    async def _append(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        schema: Schema,
        content: Definition | None = None,
    ) -> None:
        digest = None if content is None else hashlib.sha256(_encode(content)).digest()
        await self._ledger.append(
            transaction,
            scope,
            Act(action, subject_of(schema), schema.owner_id, schema.version, content=digest),
        )

    async def _read_page(
        self, transaction: Transaction, scope: Scope, rows: Sequence[Record], limit: int
    ) -> SchemaPage:
        """What makes a page of the first of these rows, put on record. Those beyond only tell that there are more."""
        count = count_fitting(len(row["sealed_definition"]) for row in rows[:limit])
        schemas = [await self._describe(row) for row in rows[:count]]
        acts = [
            Act("schema.read", subject_of(schema), schema.owner_id, schema.version)
            for schema in schemas
            if isinstance(schema, Schema)
        ]
        await self._ledger.append(transaction, scope, *acts)
        return SchemaPage(schemas, count < len(rows))


def subject_of(schema: Schema) -> Subject:
    """How the ledger names a schema."""
    return Subject(render_id(SCHEMA_PREFIX, schema.id), schema.salt)


def _encode(definition: Definition) -> bytes:
    fields: dict[str, object] = {
        "schema": definition.schema,
        "plain_fields": definition.plain_fields,
        "sensitive_fields": definition.sensitive_fields,
        "indexed_fields": definition.indexed_fields,
    }
    # Only where there are some: the ledger commits to older versions without them.
    if definition.personal_fields:
        fields["personal_fields"] = definition.personal_fields
    return canonical(fields)


def _name_context(scope: Scope, schema_id: UUID) -> bytes:
    return bind(scope.tenant_id, "schemas", schema_id, "sealed_name")


def _check_version(latest: int, expected: frozenset[int] | None) -> None:
    if expected is not None and latest not in expected:
        raise StaleVersionError("schema", latest)


def _definition_context(tenant_id: UUID, schema_id: UUID, number: int) -> bytes:
    return bind(tenant_id, "schema_versions", schema_id, "sealed_definition", number)
