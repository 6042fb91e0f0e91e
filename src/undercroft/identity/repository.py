"""Identity's statements, one method each."""

from datetime import datetime
from typing import Final, cast
from uuid import UUID

from undercroft.identity.keys import NewKey
from undercroft.identity.models import Principal, RevokedKey, Role, User
from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.identity")


class IdentityRepository:
    """Reads and writes tenants, users and keys."""

    async def find_principal(self, transaction: Transaction, key_hash: bytes) -> Principal | None:
        """The principal behind a valid key; marks the key as used."""
        row = await _QUERIES.maybe(transaction, "authenticate_api_key", key_hash)
        if row is None:
            return None
        return Principal(row["tenant_id"], row["user_id"], row["key_id"], Role(row["role"]))

    async def find_tenant(self, transaction: Transaction, name: str) -> UUID | None:
        """The id of the tenant with that name."""
        return cast("UUID | None", await _QUERIES.value(transaction, "find_tenant", name))

    async def insert_tenant(self, transaction: Transaction, tenant_id: UUID, name: str) -> bool:
        """Create a tenant; False when the name is taken."""
        return await _QUERIES.value(transaction, "insert_tenant", tenant_id, name) is not None

    async def upsert_user(
        self,
        transaction: Transaction,
        user_id: UUID,
        tenant_id: UUID,
        email: str,
        role: Role | None,
    ) -> User:
        """The tenant's user with that e-mail address, created or given ``role`` as needed."""
        row = await _QUERIES.one(transaction, "upsert_user", user_id, tenant_id, email, role)
        return User(
            row["id"], row["tenant_id"], row["email"], Role(row["role"]), row["ledger_salt"]
        )

    async def insert_api_key(
        self,
        transaction: Transaction,
        key_id: UUID,
        user: User,
        key: NewKey,
        expires_at: datetime | None,
    ) -> None:
        """Store the hash of a key."""
        await _QUERIES.execute(
            transaction,
            "insert_api_key",
            key_id,
            user.tenant_id,
            user.id,
            key.prefix,
            key.key_hash,
            expires_at,
        )

    async def revoke_api_keys(self, transaction: Transaction, prefix: str) -> list[RevokedKey]:
        """Revoke the tenant's keys with that visible prefix; empty when there is none."""
        rows = await _QUERIES.many(transaction, "revoke_api_keys", prefix)
        return [RevokedKey(row["id"], row["user_id"], row["ledger_salt"]) for row in rows]
