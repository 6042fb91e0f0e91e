"""The statements about issuers and those who come by them, one method each."""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.issuers.models import (
    Issuer,
    IssuerScope,
    Registration,
    RequiredAuthentication,
)
from undercroft.identity.models import Principal
from undercroft.identity.repository import read_principal
from undercroft.kit.database import Transaction
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.identity.issuers")


class IssuerRepository:
    """Reads and writes registrations, and who is who."""

    async def find_issuers(
        self, connection: AnyConnection, url: str, audiences: Sequence[str]
    ) -> list[Issuer]:
        """The registrations, of any tenant, that a token could be meant for; two at most."""
        rows = await _QUERIES.many(connection, "find_issuers", url, audiences)
        return [_read_issuer(row) for row in rows]

    async def authenticate_issued(
        self, connection: AnyConnection, issuer_id: UUID, subject: str
    ) -> Principal | None:
        """The principal behind an issuer's subject, while the registration stands."""
        row = await _QUERIES.maybe(connection, "authenticate_issued", issuer_id, subject)
        return None if row is None else read_principal(row)

    async def count_issuers(self, transaction: Transaction) -> int:
        """How many the tenant has."""
        return cast("int", await _QUERIES.value(transaction, "count_issuers"))

    async def insert_issuer(
        self, transaction: Transaction, issuer_id: UUID, tenant_id: UUID, new: Registration
    ) -> Issuer | None:
        """Register an issuer; None when it is, for this audience."""
        row = await _QUERIES.maybe(
            transaction,
            "insert_issuer",
            issuer_id,
            tenant_id,
            new.url,
            new.audience,
            new.algorithms,
            new.subject_claim,
            new.creates_users,
            new.trusts_addresses,
            new.authentication.acr_values,
            new.authentication.amr_values,
            new.authentication.longest_age,
        )
        return None if row is None else _read_issuer(row)

    async def list_issuers(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[Issuer]:
        """A page of the tenant's, oldest first."""
        rows = await _QUERIES.many(transaction, "list_issuers", after, limit)
        return [_read_issuer(row) for row in rows]

    async def delete_issuer(self, transaction: Transaction, issuer_id: UUID) -> bool:
        """Delete a registration; False when there is none."""
        return await _QUERIES.execute(transaction, "delete_issuer", issuer_id) == 1

    async def lock_issuer(self, transaction: Transaction, issuer_id: UUID) -> bool:
        """Let nobody else become a user by it before the transaction ends; False when it is gone."""
        return await _QUERIES.value(transaction, "lock_issuer", issuer_id) is not None

    async def find_issued_user(
        self, transaction: Transaction, url: str, subject: str
    ) -> UUID | None:
        """Whom an issuer means by a subject."""
        found = await _QUERIES.value(transaction, "find_issued_user", url, subject)
        return cast("UUID | None", found)

    async def find_user_by_address(self, transaction: Transaction, address: str) -> UUID | None:
        """The person or guest of the tenant with that address."""
        found = await _QUERIES.value(transaction, "find_user_by_address", address)
        return cast("UUID | None", found)

    async def insert_person(
        self, transaction: Transaction, scope: IssuerScope, address: str | None
    ) -> bytes | None:
        """Create a member, with a verified address or none; their salt, None when the address is taken."""
        salt = await _QUERIES.value(
            transaction, "insert_person", scope.principal_id, scope.tenant_id, address
        )
        return cast("bytes | None", salt)

    async def insert_issued_user(
        self, transaction: Transaction, issuer: Issuer, subject: str, user_id: UUID
    ) -> None:
        """Remember whom an issuer means by a subject."""
        await _QUERIES.execute(
            transaction,
            "insert_issued_user",
            issuer.tenant_id,
            issuer.registration.url,
            subject,
            user_id,
        )

    async def get_user_salt(self, transaction: Transaction, user_id: UUID) -> bytes:
        """The salt of the ledger's commitments to a user."""
        row = await _QUERIES.one(transaction, "get_user_salt", user_id)
        return cast("bytes", row["ledger_salt"])


def _read_issuer(row: Record) -> Issuer:
    registration = Registration(
        row["url"],
        row["audience"],
        tuple(row["algorithms"]),
        row["subject_claim"],
        row["creates_users"],
        row["trusts_addresses"],
        RequiredAuthentication(
            tuple(row["acr_values"]), tuple(row["amr_values"]), row["longest_auth_age"]
        ),
    )
    return Issuer(row["id"], row["tenant_id"], registration, row["created_at"])
