"""Statements about accounts, one method each."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.accounts.models import (
    CODE_LIFETIMES,
    Account,
    AttemptCount,
    CodePurpose,
    MailCode,
)
from undercroft.identity.models import Kind, Role
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.identity.accounts")


class AccountRepository:
    """Reads and writes passwords, codes and counts of attempts."""

    async def find_account(
        self, transaction: Transaction, tenant_id: UUID, email: str
    ) -> Account | None:
        """The account of an address, in small letters."""
        row = await _QUERIES.maybe(transaction, "find_account", tenant_id, email)
        return None if row is None else _read_account(row)

    async def find_account_by_id(
        self, transaction: Transaction, tenant_id: UUID, user_id: UUID
    ) -> Account | None:
        """A user's account; None when they have no address, too."""
        row = await _QUERIES.maybe(transaction, "find_account_by_id", tenant_id, user_id)
        return None if row is None else _read_account(row)

    async def lock_active_user(
        self, transaction: Transaction, tenant_id: UUID, user_id: UUID
    ) -> bool:
        """Keep a user from being suspended or changed until the end of the transaction; False when suspended."""
        found = await _QUERIES.value(transaction, "lock_active_user", tenant_id, user_id)
        return found is not None

    async def find_password(self, transaction: Transaction, scope: Scope) -> str | None:
        """The hash of the principal's password."""
        return cast(
            "str | None",
            await _QUERIES.value(transaction, "find_password", scope.tenant_id, scope.principal_id),
        )

    async def set_password(self, transaction: Transaction, scope: Scope, encoded: str) -> None:
        """Give the principal a password."""
        await _QUERIES.execute(
            transaction, "set_password", scope.tenant_id, scope.principal_id, encoded
        )

    async def renew_hash(self, transaction: Transaction, scope: Scope, encoded: str) -> None:
        """Keep another hash of the same password."""
        await _QUERIES.execute(
            transaction, "renew_hash", scope.tenant_id, scope.principal_id, encoded
        )

    async def insert_user(
        self, transaction: Transaction, tenant_id: UUID, user_id: UUID, email: str
    ) -> bool:
        """Create a member; False when the tenant has one with that address."""
        row = await _QUERIES.maybe(transaction, "insert_user", user_id, tenant_id, email)
        return row is not None

    async def verify_email(self, transaction: Transaction, scope: Scope) -> bool:
        """Note that mail reaches the principal; False when that was known."""
        return (
            await _QUERIES.execute(transaction, "verify_email", scope.tenant_id, scope.principal_id)
            > 0
        )

    async def find_sign_up_admin(self, transaction: Transaction, tenant_id: UUID) -> UUID | None:
        """The admin who lets people make accounts in the tenant by themselves; None where nobody does."""
        return cast(
            "UUID | None", await _QUERIES.value(transaction, "find_sign_up_admin", tenant_id)
        )

    async def open_sign_up(self, transaction: Transaction, scope: Scope) -> bool:
        """Let people make accounts in the tenant by themselves; False when they may."""
        return (
            await _QUERIES.execute(transaction, "open_sign_up", scope.tenant_id, scope.principal_id)
            > 0
        )

    async def close_sign_up(self, transaction: Transaction, tenant_id: UUID) -> bool:
        """Let them no longer; False when they may not."""
        return await _QUERIES.execute(transaction, "close_sign_up", tenant_id) > 0

    async def insert_code(
        self,
        transaction: Transaction,
        code_id: UUID,
        tenant_id: UUID,
        code: MailCode,
        code_hash: bytes,
    ) -> None:
        """Store the hash of a code."""
        await _QUERIES.execute(
            transaction,
            "insert_code",
            code_id,
            tenant_id,
            code.user_id,
            code.email,
            code.purpose,
            code_hash,
            CODE_LIFETIMES[code.purpose],
        )

    async def count_codes(self, transaction: Transaction, tenant_id: UUID, code: MailCode) -> int:
        """How many codes of that purpose and that person are good."""
        return cast(
            "int",
            await _QUERIES.value(
                transaction, "count_codes", tenant_id, code.purpose, code.user_id, code.email
            ),
        )

    async def find_tenant_of_code(self, connection: AnyConnection, code_hash: bytes) -> UUID | None:
        """In which tenant a code is good."""
        return cast(
            "UUID | None", await _QUERIES.value(connection, "find_tenant_of_code", code_hash)
        )

    async def find_code(self, transaction: Transaction, code_hash: bytes) -> MailCode | None:
        """A code that is good, left so."""
        row = await _QUERIES.maybe(transaction, "find_code", code_hash)
        return None if row is None else _read_code(row)

    async def take_code(self, transaction: Transaction, code_hash: bytes) -> bool:
        """Use a code up; False when it is good no more."""
        return await _QUERIES.execute(transaction, "take_code", code_hash) > 0

    async def delete_codes(self, transaction: Transaction, tenant_id: UUID, user_id: UUID) -> None:
        """Make every code void that sets the user's password."""
        await _QUERIES.execute(transaction, "delete_codes", tenant_id, user_id)

    async def lock_attempts(
        self, transaction: Transaction, scope: Scope, subjects: Sequence[bytes]
    ) -> Mapping[bytes, AttemptCount]:
        """How often each was tried, which nobody else changes before the transaction ends."""
        rows = await _QUERIES.many(transaction, "lock_attempts", scope.tenant_id, subjects)
        return {
            row["subject"]: AttemptCount(row["failures"], row["wait"], row["is_known"])
            for row in rows
        }

    async def count_attempts(
        self,
        transaction: Transaction,
        scope: Scope,
        failures: Mapping[bytes, int],
        pauses: Sequence[int],
    ) -> None:
        """Note how often each was tried, and for how many seconds it has to wait."""
        await _QUERIES.execute(
            transaction,
            "count_attempts",
            scope.tenant_id,
            list(failures),
            list(failures.values()),
            pauses,
        )

    async def forgive_attempts(
        self,
        transaction: Transaction,
        scope: Scope,
        subjects: tuple[bytes, bytes, bytes],
        known_for: timedelta,
    ) -> None:
        """Begin to count anew after a success: of an address, of it and an account, of the account."""
        await _QUERIES.execute(
            transaction, "forgive_attempts", scope.tenant_id, *subjects, known_for
        )

    async def restart_attempts(
        self, transaction: Transaction, scope: Scope, subject: bytes
    ) -> None:
        """Begin one count anew."""
        await _QUERIES.execute(transaction, "restart_attempts", scope.tenant_id, subject)


def _read_account(row: Record) -> Account:
    return Account(
        id=row["id"],
        tenant_id=row["tenant_id"],
        tenant_name=row["tenant_name"],
        email=row["email"],
        kind=Kind(row["kind"]),
        role=Role(row["role"]),
        is_verified=row["is_verified"],
        is_suspended=row["is_suspended"],
        encoded=row["encoded"],
        ledger_salt=row["ledger_salt"],
    )


def _read_code(row: Record) -> MailCode:
    return MailCode(CodePurpose(row["purpose"]), row["user_id"], row["email"])
