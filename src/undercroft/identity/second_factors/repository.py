"""Statements about second factors, one method each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.second_factors.models import (
    CHALLENGE_LIFETIME,
    ENROLMENT_LIFETIME,
    Challenged,
    Standing,
)
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.identity.second_factors")


class SecondFactorRepository:
    """Reads and writes second factors, recovery codes and challenges."""

    async def insert_factor(
        self, transaction: Transaction, scope: Scope, key_id: UUID, sealed: bytes
    ) -> None:
        """Store a secret that nobody has shown a code of yet."""
        await _QUERIES.execute(
            transaction, "insert_factor", scope.tenant_id, scope.principal_id, key_id, sealed
        )

    async def delete_factor(self, transaction: Transaction, tenant_id: UUID, user_id: UUID) -> bool:
        """Delete a factor with all that rests on it; False when there is none."""
        return await _QUERIES.execute(transaction, "delete_factor", tenant_id, user_id) > 0

    async def find_factor(self, transaction: Transaction, scope: Scope) -> Record | None:
        """The principal's factor with its keys, confirmed or not."""
        return await _QUERIES.maybe(
            transaction, "find_factor", scope.tenant_id, scope.principal_id, ENROLMENT_LIFETIME
        )

    async def find_standing(
        self, transaction: Transaction, tenant_id: UUID, user_id: UUID
    ) -> Standing:
        """Whether a user has a factor, and needs one."""
        row = await _QUERIES.one(transaction, "find_standing", tenant_id, user_id)
        return Standing(row["enabled_at"], row["codes_left"], row["is_demanded"])

    async def confirm_factor(self, transaction: Transaction, scope: Scope) -> None:
        """Have the factor asked for from now on."""
        await _QUERIES.execute(transaction, "confirm_factor", scope.tenant_id, scope.principal_id)

    async def use_step(self, transaction: Transaction, scope: Scope, step: int) -> bool:
        """Use a code up, and all that are older; False when it was."""
        return (
            await _QUERIES.execute(
                transaction, "use_step", scope.tenant_id, scope.principal_id, step
            )
            > 0
        )

    async def replace_recovery_codes(
        self, transaction: Transaction, scope: Scope, hashes: Sequence[bytes]
    ) -> None:
        """Store the hashes of new codes in place of the old ones."""
        await _QUERIES.execute(
            transaction, "delete_recovery_codes", scope.tenant_id, scope.principal_id
        )
        await _QUERIES.execute(
            transaction, "insert_recovery_codes", scope.tenant_id, scope.principal_id, hashes
        )

    async def use_recovery_code(
        self, transaction: Transaction, scope: Scope, code_hash: bytes
    ) -> bool:
        """Use a recovery code up; False when it is not good, or was used."""
        return (
            await _QUERIES.execute(
                transaction, "use_recovery_code", scope.tenant_id, scope.principal_id, code_hash
            )
            > 0
        )

    async def insert_challenge(
        self, transaction: Transaction, scope: Scope, challenge_hash: bytes
    ) -> datetime:
        """Store the hash of a challenge; when it ends."""
        return cast(
            "datetime",
            await _QUERIES.value(
                transaction,
                "insert_challenge",
                scope.tenant_id,
                scope.principal_id,
                challenge_hash,
                CHALLENGE_LIFETIME,
            ),
        )

    async def find_challenge(
        self, connection: AnyConnection, challenge_hash: bytes
    ) -> Challenged | None:
        """Who may answer a challenge, left good."""
        row = await _QUERIES.maybe(connection, "find_challenge", challenge_hash)
        return None if row is None else Challenged(row["tenant_id"], row["user_id"])

    async def take_challenge(
        self, transaction: Transaction, scope: Scope, challenge_hash: bytes
    ) -> bool:
        """Use a challenge up; False when it is good no more."""
        return (
            await _QUERIES.execute(
                transaction, "take_challenge", scope.tenant_id, scope.principal_id, challenge_hash
            )
            > 0
        )

    async def delete_challenges(self, transaction: Transaction, scope: Scope) -> None:
        """Have nobody answer a challenge of the principal's any more."""
        await _QUERIES.execute(
            transaction, "delete_challenges", scope.tenant_id, scope.principal_id
        )

    async def is_demanded(self, transaction: Transaction, tenant_id: UUID) -> bool:
        """Whether the tenant asks its people for a second factor."""
        return bool(await _QUERIES.value(transaction, "is_demanded", tenant_id))

    async def demand(self, transaction: Transaction, tenant_id: UUID) -> bool:
        """Ask a tenant's people for one; False when it does."""
        return await _QUERIES.execute(transaction, "demand", tenant_id) > 0

    async def waive(self, transaction: Transaction, tenant_id: UUID) -> bool:
        """Ask them no longer; False when it does not."""
        return await _QUERIES.execute(transaction, "waive", tenant_id) > 0
