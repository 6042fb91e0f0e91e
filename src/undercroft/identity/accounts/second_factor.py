"""What becomes of the second factors of accounts: enrolled, confirmed, removed, and demanded of a tenant's people."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias
from uuid import UUID

from undercroft.identity.accounts import letters
from undercroft.identity.accounts.attempts import Attempts
from undercroft.identity.accounts.errors import CurrentPasswordError
from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.identity.accounts.models import Account, Client
from undercroft.identity.accounts.passwords import prepare_password
from undercroft.identity.accounts.repository import AccountRepository
from undercroft.identity.accounts.service import AccountService
from undercroft.identity.models import Principal
from undercroft.identity.people import require_person
from undercroft.identity.second_factors.errors import NotEnrolledError, OwnSecondFactorError
from undercroft.identity.second_factors.models import Enrolment, Proof, Standing
from undercroft.identity.second_factors.service import SecondFactors
from undercroft.identity.sessions.models import EndReason
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.mail.message import Message
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import USER_PREFIX, Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue

_Take: TypeAlias = Callable[[Scope, str, Client], Awaitable[None]]
"""Counts an attempt before it is looked at."""


class AccountSecondFactors:
    """Second factors of people who have an account."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        accounts: AccountService,
        factors: SecondFactors,
        sessions: SessionService,
        hasher: PasswordHasher,
        mail: MailQueue,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._accounts = accounts
        self._factors = factors
        self._sessions = sessions
        self._hasher = hasher
        self._mail = mail
        self._attempts = Attempts(database)
        self._repository = AccountRepository()

    async def get_standing(self, principal: Principal) -> Standing:
        """Whether the caller has a second factor, and needs one.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(principal)
        async with self._database.transaction(principal) as transaction:
            return await self._factors.find_standing(
                transaction, principal.tenant_id, principal.user_id
            )

    async def begin(self, principal: Principal, current: str, client: Client) -> Enrolment:
        """Make the caller a secret for their app. It counts for nothing until :meth:`confirm`.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            CurrentPasswordError: When the password is another.
            AlreadyEnrolledError: When they have a second factor.
            TooManyAttemptsError: When it was too often.
            UnavailableError: When too many people are signing in at this moment.
        """
        account = await self._check_password(principal, current, client, self._attempts.take)
        async with self._changing(principal, account) as transaction:
            enrolment = await self._factors.begin(
                transaction, account, account.email, account.tenant_name
            )
            await self._attempts.forgive(transaction, principal, account.email, client)
            return enrolment

    async def confirm(self, principal: Principal, code: str, client: Client) -> list[str]:
        """Have the caller asked for a second factor from now on, and end their other sessions.

        Returns:
            Recovery codes, which are shown once.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            AlreadyEnrolledError: When they have a second factor.
            EnrolmentOverError: When none was begun, or too long ago.
            WrongSecondFactorError: When it is no code of the secret that was made for them.
            TooManyAttemptsError: When it was too often.
        """
        account = await self._accounts.get_account(principal)
        async with self._database.transaction(principal) as transaction:
            await self._factors.require_enrolment(transaction, account)
        await self._attempts.take_code(principal, account.email, client)
        async with self._changing(principal, account) as transaction:
            codes = await self._factors.confirm(transaction, account, code)
            await self._attempts.forgive_codes(transaction, principal, account.email, client)
            await self._end_other_sessions(transaction, principal, account)
            await self._tell(
                transaction,
                account,
                "account.add_second_factor",
                letters.second_factor_added(account),
            )
            return codes

    async def renew_recovery_codes(
        self, principal: Principal, current: str, code: str, client: Client
    ) -> list[str]:
        """Give the caller other recovery codes, which are shown once; the ones before are void.

        Raises:
            As :meth:`remove`.
        """
        async with self._proving(principal, current, code, client) as (transaction, account):
            codes = await self._factors.renew_recovery_codes(transaction, account)
            await self._tell(
                transaction,
                account,
                "account.renew_recovery_codes",
                letters.recovery_codes_renewed(account),
            )
            return codes

    async def remove(self, principal: Principal, current: str, code: str, client: Client) -> None:
        """Have the caller sign in by their password alone again, and end their other sessions.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            CurrentPasswordError: When the password is another.
            NotEnrolledError: When they have no second factor.
            WrongSecondFactorError: When the code is none, or was used.
            TooManyAttemptsError: When it was too often.
            UnavailableError: When too many people are signing in at this moment.
        """
        async with self._proving(principal, current, code, client) as (transaction, account):
            await self._factors.remove(transaction, account.tenant_id, account.id)
            await self._end_other_sessions(transaction, principal, account)
            await self._tell(
                transaction,
                account,
                "account.remove_second_factor",
                letters.second_factor_removed(account),
            )

    async def remove_of(self, admin: Principal, user_id: UUID) -> None:
        """Take away the second factor of somebody who has lost theirs.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            OwnSecondFactorError: When it is the caller's own.
            NotFoundError: When the tenant has no such user, or one without an address.
            NotEnrolledError: When they have none.
        """
        require_person(admin)
        if user_id == admin.user_id:
            raise OwnSecondFactorError
        async with self._database.transaction(admin) as transaction:
            await self._repository.lock_active_user(transaction, admin.tenant_id, user_id)
            account = await self._repository.find_account_by_id(
                transaction, admin.tenant_id, user_id
            )
            if account is None:
                raise NotFoundError("user", render_id(USER_PREFIX, user_id))
            if not await self._factors.is_enabled(transaction, account):
                raise NotEnrolledError
            await self._factors.remove(transaction, admin.tenant_id, user_id)
            letter = letters.second_factor_removed(account)
            await self._tell(
                transaction, account, "account.remove_second_factor", letter, actor=admin
            )

    async def is_demanded(self, scope: Scope) -> bool:
        """Whether the tenant asks its people for a second factor."""
        return await self._factors.is_demanded(scope)

    async def demand(self, admin: Principal, *, is_demanded: bool) -> None:
        """Ask the tenant's people for a second factor from their next request on, or no longer.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(admin)
        async with self._database.transaction(admin) as transaction:
            if not await self._factors.demand(
                transaction, admin.tenant_id, is_demanded=is_demanded
            ):
                return
            tenant = await self._ledger.tenant(transaction, admin.tenant_id)
            purpose = "demanded" if is_demanded else "optional"
            act = Act("tenant.change_second_factor", tenant, None, purpose=purpose)
            await self._ledger.append(transaction, admin, act)

    @asynccontextmanager
    async def _proving(
        self, principal: Principal, current: str, code: str, client: Client
    ) -> AsyncGenerator[tuple[Transaction, Account]]:
        """A transaction of whoever has shown both factors."""
        account = await self._check_password(principal, current, client, self._attempts.take_code)
        async with self._changing(principal, account) as transaction:
            proof = await self._factors.prove(transaction, account, code)
            await self._attempts.forgive_codes(transaction, principal, account.email, client)
            if proof is Proof.RECOVERY_CODE:
                letter = letters.recovery_code_used(account)
                await self._tell(transaction, account, "account.use_recovery_code", letter)
            yield transaction, account

    async def _check_password(
        self, principal: Principal, current: str, client: Client, take: _Take
    ) -> Account:
        account = await self._accounts.get_account(principal)
        async with self._hasher.place() as place:
            await take(principal, account.email, client)
            if not await place.is_password(prepare_password(current), account.encoded):
                raise CurrentPasswordError
        return account

    @asynccontextmanager
    async def _changing(
        self, principal: Principal, account: Account
    ) -> AsyncGenerator[Transaction]:
        """A transaction in which nobody else changes the account, and nobody has since it was read."""
        async with self._database.transaction(principal) as transaction:
            is_active = await self._repository.lock_active_user(
                transaction, account.tenant_id, account.id
            )
            encoded = await self._repository.find_password(transaction, account)
            if not is_active or encoded != account.encoded:
                raise CurrentPasswordError
            yield transaction

    async def _end_other_sessions(
        self, transaction: Transaction, principal: Principal, account: Account
    ) -> None:
        kept = await self._sessions.find_current(transaction, principal)
        reason = EndReason.SECOND_FACTOR_CHANGED
        await self._sessions.end_all_but(transaction, account, kept, reason)

    async def _tell(
        self,
        transaction: Transaction,
        account: Account,
        action: Action,
        letter: Message,
        *,
        actor: Scope | None = None,
    ) -> None:
        """Put on record what was done, and write to whom it was done."""
        act = Act(action, Subject(user_reference(account.id), account.ledger_salt), account.id)
        await self._ledger.append(transaction, actor or account, act)
        await self._mail.send(transaction, actor or account, letter)
