"""Second factors as they are made, shown and taken away, each in its caller's transaction.

Whoever calls has locked the user and counted the attempt: see ``identity/accounts``.
"""

import os
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from undercroft.identity.second_factors import totp
from undercroft.identity.second_factors.errors import (
    AlreadyEnrolledError,
    ChallengeOverError,
    EnrolmentOverError,
    NotEnrolledError,
    WrongSecondFactorError,
)
from undercroft.identity.second_factors.models import (
    RECOVERY_CODES,
    Challenge,
    Challenged,
    Enrolment,
    Proof,
    Standing,
    hash_challenge,
    hash_recovery_code,
    make_challenge,
    make_recovery_code,
    secret_place,
)
from undercroft.identity.second_factors.repository import SecondFactorRepository
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.aead import seal, unseal
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope


class SecondFactors:
    """One-time passwords by time, and recovery codes.

    Args:
        database: Where they are.
        keys: Seal the secrets.
        clock: Of which moment a code is.
        entropy: Returns that many random bytes.
    """

    def __init__(
        self,
        database: Database,
        keys: RowKeys,
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._entropy = entropy
        self._repository = SecondFactorRepository()

    async def find_standing(
        self, transaction: Transaction, tenant_id: UUID, user_id: UUID
    ) -> Standing:
        """Whether a user has a second factor, and needs one."""
        return await self._repository.find_standing(transaction, tenant_id, user_id)

    async def is_enabled(self, transaction: Transaction, scope: Scope) -> bool:
        """Whether the principal is asked for a second factor."""
        standing = await self.find_standing(transaction, scope.tenant_id, scope.principal_id)
        return standing.enabled_at is not None

    async def begin(
        self, transaction: Transaction, scope: Scope, email: str, tenant_name: str
    ) -> Enrolment:
        """Make the principal a secret, in place of one whose enrolment came to nothing.

        Raises:
            AlreadyEnrolledError: When they have a second factor.
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        if await self.is_enabled(transaction, scope):
            raise AlreadyEnrolledError
        await self.remove(transaction, scope.tenant_id, scope.principal_id)
        secret = totp.make_secret(self._entropy)
        key = await self._keys.create(transaction, scope)
        place = secret_place(scope.tenant_id, scope.principal_id)
        sealed = seal(key.material, secret, place)
        await self._repository.insert_factor(transaction, scope, key.id, sealed)
        uri = totp.render_uri(secret, email, tenant_name)
        return Enrolment(totp.render_secret(secret), uri)

    async def require_enrolment(self, transaction: Transaction, scope: Scope) -> Record:
        """The principal's enrolment that waits for a code.

        Raises:
            AlreadyEnrolledError: When they have a second factor.
            EnrolmentOverError: When none was begun, or too long ago.
        """
        row = await self._repository.find_factor(transaction, scope)
        if row is not None and row["confirmed_at"] is not None:
            raise AlreadyEnrolledError
        if row is None or not row["is_fresh"]:
            raise EnrolmentOverError
        return row

    async def confirm(self, transaction: Transaction, scope: Scope, text: str) -> list[str]:
        """Have a second factor asked for from now on, whose code shows that the app has its secret.

        Returns:
            Recovery codes, which are shown once and kept as hashes.

        Raises:
            AlreadyEnrolledError: When they have a second factor.
            EnrolmentOverError: When none was begun, or too long ago.
            WrongSecondFactorError: When it is no code of it.
        """
        row = await self.require_enrolment(transaction, scope)
        await self._use_code(transaction, scope, row, text)
        await self._repository.confirm_factor(transaction, scope)
        return await self.renew_recovery_codes(transaction, scope)

    async def prove(self, transaction: Transaction, scope: Scope, text: str) -> Proof:
        """Use up a code of the principal's app, or a recovery code, if the transaction commits.

        Raises:
            NotEnrolledError: When they have no second factor.
            WrongSecondFactorError: When it is neither, or was used.
        """
        row = await self._repository.find_factor(transaction, scope)
        if row is None or row["confirmed_at"] is None:
            raise NotEnrolledError
        code_hash = hash_recovery_code(text)
        if code_hash is None:
            await self._use_code(transaction, scope, row, text)
            return Proof.CODE
        if not await self._repository.use_recovery_code(transaction, scope, code_hash):
            raise WrongSecondFactorError
        return Proof.RECOVERY_CODE

    async def renew_recovery_codes(self, transaction: Transaction, scope: Scope) -> list[str]:
        """Give the principal other recovery codes; the ones before are good no more."""
        codes = [make_recovery_code(self._entropy) for _ in range(RECOVERY_CODES)]
        hashes = [digest for code in codes if (digest := hash_recovery_code(code)) is not None]
        await self._repository.replace_recovery_codes(transaction, scope, hashes)
        return codes

    async def remove(self, transaction: Transaction, tenant_id: UUID, user_id: UUID) -> bool:
        """Take away a user's second factor, or what was begun of one; False when there is neither."""
        return await self._repository.delete_factor(transaction, tenant_id, user_id)

    async def challenge(self, transaction: Transaction, scope: Scope) -> Challenge:
        """What the principal answers with their second factor, having shown their password."""
        text = make_challenge(self._entropy)
        expires_at = await self._repository.insert_challenge(
            transaction, scope, _require_hash(text)
        )
        return Challenge(text, expires_at)

    async def find_challenged(self, text: str) -> Challenged:
        """Who may answer a challenge; it stays good.

        Raises:
            ChallengeOverError: When nobody may.
        """
        async with self._database.statement_without_scope() as connection:
            found = await self._repository.find_challenge(connection, _require_hash(text))
        if found is None:
            raise ChallengeOverError
        return found

    async def answer(self, transaction: Transaction, scope: Scope, text: str, code: str) -> Proof:
        """Use up a challenge and what answers it, both if the transaction commits.

        Raises:
            ChallengeOverError: When it was answered meanwhile, or has become too old.
            WrongSecondFactorError: When the code is none, or was used; the challenge stays good.
        """
        if not await self._repository.take_challenge(transaction, scope, _require_hash(text)):
            raise ChallengeOverError
        return await self.prove(transaction, scope, code)

    async def forget_challenges(self, transaction: Transaction, scope: Scope) -> None:
        """Have whoever has shown a former password show the new one."""
        await self._repository.delete_challenges(transaction, scope)

    async def is_demanded(self, scope: Scope) -> bool:
        """Whether the tenant asks its people for a second factor."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.is_demanded(transaction, scope.tenant_id)

    async def demand(self, transaction: Transaction, tenant_id: UUID, *, is_demanded: bool) -> bool:
        """Ask the tenant's people for a second factor, or no longer; False when that is so already."""
        change = self._repository.demand if is_demanded else self._repository.waive
        return await change(transaction, tenant_id)

    async def _use_code(
        self, transaction: Transaction, scope: Scope, row: Record, text: str
    ) -> None:
        code = totp.read_code(text)
        if code is None:
            raise WrongSecondFactorError
        key = await self._keys.open(row)
        place = secret_place(scope.tenant_id, scope.principal_id)
        secret = unseal(key.material, row["sealed_secret"], place)
        step = totp.find_step(secret, code, self._now())
        if step is None or not await self._repository.use_step(transaction, scope, step):
            raise WrongSecondFactorError

    def _now(self) -> datetime:
        return self._clock.now()


def _require_hash(text: str) -> bytes:
    digest = hash_challenge(text)
    if digest is None:
        raise ChallengeOverError
    return digest
