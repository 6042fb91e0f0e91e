"""Identity's statements, one method each."""

from datetime import datetime
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.keys import NewKey
from undercroft.identity.models import (
    ApiKey,
    HeldKey,
    Kind,
    Permission,
    Principal,
    RevokedKey,
    Role,
    User,
)
from undercroft.kit.database import Transaction
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.identity")
_KNOWN: Final = frozenset[str](Permission)


class IdentityRepository:
    """Reads and writes tenants, users and keys."""

    async def find_key_holder(self, connection: AnyConnection, key_hash: bytes) -> Principal | None:
        """The principal behind a valid API key; marks the key as used."""
        row = await _QUERIES.maybe(connection, "authenticate_api_key", key_hash)
        return None if row is None else read_principal(row)

    async def find_token_holder(
        self, connection: AnyConnection, token_hash: bytes
    ) -> Principal | None:
        """The principal behind a valid access token."""
        row = await _QUERIES.maybe(connection, "authenticate_access_token", token_hash)
        return None if row is None else read_principal(row)

    async def find_tenant(self, transaction: Transaction, name: str) -> UUID | None:
        """The id of the tenant with that name."""
        return cast("UUID | None", await _QUERIES.value(transaction, "find_tenant", name))

    async def insert_tenant(self, transaction: Transaction, tenant_id: UUID, name: str) -> bool:
        """Create a tenant; False when the name is taken."""
        return await _QUERIES.value(transaction, "insert_tenant", tenant_id, name) is not None

    async def insert_user(
        self, transaction: Transaction, user_id: UUID, tenant_id: UUID, email: str, role: Role
    ) -> User | None:
        """Create a user; None when the tenant has one with that e-mail address."""
        row = await _QUERIES.maybe(transaction, "insert_user", user_id, tenant_id, email, role)
        return None if row is None else _read_user(row)

    async def find_user_id(self, transaction: Transaction, email: str) -> UUID | None:
        """The tenant's user with that e-mail address."""
        return cast("UUID | None", await _QUERIES.value(transaction, "find_user_id", email))

    async def insert_guest(
        self, transaction: Transaction, user_id: UUID, tenant_id: UUID, email: str
    ) -> User | None:
        """Create a guest; None when the tenant has a user with that e-mail address."""
        row = await _QUERIES.maybe(transaction, "insert_guest", user_id, tenant_id, email)
        return None if row is None else _read_user(row)

    async def lock_user(self, transaction: Transaction, tenant_id: UUID, email: str) -> User:
        """The tenant's user with that e-mail address, whose role nobody else changes before the transaction ends."""
        return _read_user(await _QUERIES.one(transaction, "lock_user", tenant_id, email))

    async def update_role(self, transaction: Transaction, user_id: UUID, role: Role) -> None:
        """Give a user another role."""
        await _QUERIES.execute(transaction, "update_role", user_id, role)

    async def find_key_expiry(
        self, transaction: Transaction, credential_id: UUID
    ) -> datetime | None:
        """When an API key ends; None for never, and for a credential that is none."""
        found = await _QUERIES.value(transaction, "find_key_expiry", credential_id)
        return cast("datetime | None", found)

    async def find_key_salt(self, transaction: Transaction, key_id: UUID) -> bytes | None:
        """The salt of the ledger's commitments to a key."""
        return cast("bytes | None", await _QUERIES.value(transaction, "find_key_salt", key_id))

    async def insert_api_key(
        self,
        transaction: Transaction,
        key_id: UUID,
        user_id: UUID,
        key: NewKey,
        expires_at: datetime | None,
        scopes: frozenset[Permission] | None = None,
    ) -> None:
        """Store the hash of a key."""
        await _QUERIES.execute(
            transaction,
            "insert_api_key",
            key_id,
            user_id,
            key.prefix,
            key.key_hash,
            expires_at,
            None if scopes is None else sorted(scopes),
        )

    async def count_living_keys(self, transaction: Transaction, user_id: UUID) -> int:
        """How many keys of a user can be used."""
        return int(await _QUERIES.value(transaction, "count_living_keys", user_id))

    async def find_api_key(
        self, transaction: Transaction, user_id: UUID, key_id: UUID
    ) -> ApiKey | None:
        """A key of a user's."""
        row = await _QUERIES.maybe(transaction, "find_api_key", user_id, key_id)
        return None if row is None else _read_key(row)

    async def list_api_keys(
        self, transaction: Transaction, user_id: UUID, after: UUID | None, limit: int
    ) -> list[ApiKey]:
        """A user's keys, the oldest first, from after the given one."""
        rows = await _QUERIES.many(transaction, "list_api_keys", user_id, after, limit)
        return [_read_key(row) for row in rows]

    async def list_held_keys(
        self,
        transaction: Transaction,
        user_id: UUID | None,
        after: ApiKey | None,
        limit: int,
    ) -> list[HeldKey]:
        """The tenant's keys, or one user's, each user's together, from after the given one."""
        place = (None, None) if after is None else (after.user_id, after.id)
        rows = await _QUERIES.many(transaction, "list_held_keys", user_id, *place, limit)
        return [HeldKey(_read_key(row), row["holder"]) for row in rows]

    async def revoke_api_key(self, transaction: Transaction, key_id: UUID) -> bool:
        """Revoke a key; False when it was revoked before."""
        return await _QUERIES.value(transaction, "revoke_api_key", key_id) is not None

    async def revoke_api_keys(self, transaction: Transaction, prefix: str) -> list[RevokedKey]:
        """Revoke the tenant's keys with that visible prefix; empty when there is none."""
        rows = await _QUERIES.many(transaction, "revoke_api_keys", prefix)
        return [RevokedKey(row["id"], row["user_id"], row["ledger_salt"]) for row in rows]


def read_principal(row: Record) -> Principal:
    """Who a credential makes of its bearer."""
    scopes: list[str] | None = row["scopes"]
    return Principal(
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        credential_id=row["credential_id"],
        role=Role(row["role"]),
        kind=Kind(row["kind"]),
        actor_id=row["actor_id"],
        # A scope that a later version has and this one does not know grants nothing here.
        scopes=None if scopes is None else frozenset(map(Permission, _KNOWN.intersection(scopes))),
        # Not asked of whoever comes by an issuer, which answers for how they signed in there.
        must_enrol=bool(row.get("must_enrol")),
    )


def _read_key(row: Record) -> ApiKey:
    scopes: list[str] | None = row["scopes"]
    return ApiKey(
        row["id"],
        row["user_id"],
        row["prefix"],
        None if scopes is None else frozenset(scopes),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["last_used_at"],
    )


def _read_user(row: Record) -> User:
    return User(
        row["id"],
        row["tenant_id"],
        row["email"],
        Kind(row["kind"]),
        Role(row["role"]),
        row["ledger_salt"],
    )
