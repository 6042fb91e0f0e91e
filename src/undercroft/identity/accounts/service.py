"""What becomes of accounts: invitations, passwords, addresses that are verified, and who may sign up."""

from uuid import UUID

from undercroft.identity.accounts import letters
from undercroft.identity.accounts.attempts import Attempts
from undercroft.identity.accounts.codes import Codes
from undercroft.identity.accounts.errors import (
    AlreadyAcceptedError,
    CurrentPasswordError,
    SignUpClosedError,
    WrongCodeError,
)
from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.identity.accounts.models import (
    Account,
    Client,
    CodePurpose,
    MailCode,
    Visitor,
)
from undercroft.identity.accounts.passwords import check_password, prepare_password
from undercroft.identity.accounts.repository import AccountRepository
from undercroft.identity.models import Principal
from undercroft.identity.people import require_person
from undercroft.identity.second_factors.service import SecondFactors
from undercroft.identity.sessions.models import EndReason
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import USER_PREFIX, Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue


class AccountService:
    """Accounts of people who have an address."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        sessions: SessionService,
        factors: SecondFactors,
        hasher: PasswordHasher,
        codes: Codes,
        mail: MailQueue,
        ids: IdSource,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._sessions = sessions
        self._factors = factors
        self._hasher = hasher
        self._codes = codes
        self._mail = mail
        self._ids = ids
        self._attempts = Attempts(database)
        self._repository = AccountRepository()

    async def get_account(self, principal: Principal) -> Account:
        """The caller's own account.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(principal)
        async with self._database.transaction(principal) as transaction:
            return await self._get(transaction, principal, principal.user_id)

    async def change_password(
        self, principal: Principal, current: str, new: str, client: Client
    ) -> None:
        """Give the caller another password, and end their other sessions.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            WeakPasswordError: When the new one would be guessed soon.
            CurrentPasswordError: When the current one is another.
            TooManyAttemptsError: When it was too often.
            UnavailableError: When too many people are signing in at this moment.
        """
        account = await self.get_account(principal)
        check_password(new, account.email, account.tenant_name)
        async with self._hasher.place() as place:
            await self._attempts.take(principal, account.email, client)
            if not await place.is_password(prepare_password(current), account.encoded):
                raise CurrentPasswordError
            encoded = await place.hash(prepare_password(new))
        async with self._database.transaction(principal) as transaction:
            is_active = await self._repository.lock_active_user(
                transaction, account.tenant_id, account.id
            )
            # It was changed by somebody else while it was checked: then what was checked was another one.
            found = await self._repository.find_password(transaction, principal)
            if not is_active or found != account.encoded:
                raise CurrentPasswordError
            kept = await self._sessions.find_current(transaction, principal)
            await self._set_password(transaction, account, encoded, kept)
            await self._attempts.forgive(transaction, principal, account.email, client)
            await self._record(transaction, account, "account.change_password", account)

    async def use_password_code(self, text: str, new: str, client: Client) -> None:
        """Set a password by a code from a mail, which shows as well that the address is the person's.

        Their sessions end. Somebody who signs up becomes a member.

        Raises:
            WrongCodeError: When the code sets no password.
            WeakPasswordError: When the password would be guessed soon; the code stays good.
            SignUpClosedError: When nobody may sign up any more.
            UnavailableError: When too many people are signing in at this moment.
        """
        visitor, found = await self._codes.find(text)
        if found.purpose is CodePurpose.VERIFICATION:
            raise WrongCodeError
        async with self._database.transaction(visitor) as transaction:
            known = await self._names_of(transaction, visitor, found)
        check_password(new, *known)
        async with self._hasher.place() as place:
            encoded = await place.hash(prepare_password(new))
        async with self._database.transaction(visitor) as transaction:
            account = await self._use_code(transaction, visitor, found, text)
            is_first = account.encoded is None
            await self._set_password(transaction, account, encoded, None)
            await self._verify(transaction, account)
            await self._attempts.forgive(transaction, account, account.email, client)
            action = "account.set_password" if is_first else "account.reset_password"
            await self._record(transaction, account, action, account)

    async def ask_for_verification(self, principal: Principal) -> None:
        """Send the caller a code that verifies their address; nothing when it is verified.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        account = await self.get_account(principal)
        if account.is_verified:
            return
        async with self._database.transaction(principal) as transaction:
            await self._repository.lock_active_user(transaction, account.tenant_id, account.id)
            wanted = MailCode(CodePurpose.VERIFICATION, account.id, None)
            code = await self._codes.issue(transaction, account.tenant_id, wanted)
            if code is not None:
                letter = letters.verification(account, code)
                await self._mail.send(transaction, principal, letter)

    async def use_verification_code(self, text: str) -> None:
        """Verify an address by a code from a mail.

        Raises:
            WrongCodeError: When the code verifies nothing.
        """
        visitor, found = await self._codes.find(text)
        if found.purpose is not CodePurpose.VERIFICATION:
            raise WrongCodeError
        async with self._database.transaction(visitor) as transaction:
            account = await self._use_code(transaction, visitor, found, text)
            await self._verify(transaction, account)

    async def invite(self, admin: Principal, user_id: UUID) -> None:
        """Send a user a code that sets their first password; the codes of earlier invitations are void.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            NotFoundError: When the tenant has no such user, or one without an address.
            AlreadyAcceptedError: When the user has a password.
            InvalidMessageError: When no mail can be sent to the user's address.
        """
        inviter = await self.get_account(admin)
        async with self._database.transaction(admin) as transaction:
            is_active = await self._repository.lock_active_user(
                transaction, admin.tenant_id, user_id
            )
            account = await self._get(transaction, admin, user_id)
            if not is_active:
                raise NotFoundError("user", render_id(USER_PREFIX, user_id))
            if account.encoded is not None:
                raise AlreadyAcceptedError
            await self._repository.delete_codes(transaction, admin.tenant_id, user_id)
            wanted = MailCode(CodePurpose.INVITATION, user_id, None)
            code = await self._codes.issue(transaction, admin.tenant_id, wanted)
            if code is not None:
                letter = letters.invitation(account.tenant_name, account.email, inviter.email, code)
                await self._mail.send(transaction, admin, letter)
            await self._record(transaction, admin, "account.invite", account)

    async def is_sign_up_open(self, scope: Scope) -> bool:
        """Whether people may make accounts in the tenant by themselves."""
        async with self._database.transaction(scope) as transaction:
            admin_id = await self._repository.find_sign_up_admin(transaction, scope.tenant_id)
        return admin_id is not None

    async def open_sign_up(self, admin: Principal) -> None:
        """Let people make accounts in the tenant by themselves; mails to them go out in the admin's name.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(admin)
        async with self._database.transaction(admin) as transaction:
            if await self._repository.open_sign_up(transaction, admin):
                await self._record_sign_up(transaction, admin, "open")

    async def close_sign_up(self, admin: Principal) -> None:
        """Have people invited again. Codes that were sent to sign up are void from now on.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(admin)
        async with self._database.transaction(admin) as transaction:
            if await self._repository.close_sign_up(transaction, admin.tenant_id):
                await self._record_sign_up(transaction, admin, "closed")

    async def _record_sign_up(
        self, transaction: Transaction, admin: Principal, purpose: str
    ) -> None:
        tenant = await self._ledger.tenant(transaction, admin.tenant_id)
        act = Act("tenant.change_sign_up", tenant, None, purpose=purpose)
        await self._ledger.append(transaction, admin, act)

    async def _get(self, transaction: Transaction, scope: Scope, user_id: UUID) -> Account:
        account = await self._repository.find_account_by_id(transaction, scope.tenant_id, user_id)
        if account is None:
            raise NotFoundError("user", render_id(USER_PREFIX, user_id))
        return account

    async def _names_of(
        self, transaction: Transaction, visitor: Visitor, code: MailCode
    ) -> tuple[str, ...]:
        """What a guesser tries first at whoever has a code."""
        if code.user_id is None:
            return () if code.email is None else (code.email,)
        account = await self._repository.find_account_by_id(
            transaction, visitor.tenant_id, code.user_id
        )
        return () if account is None else (account.email, account.tenant_name)

    async def _use_code(
        self, transaction: Transaction, visitor: Visitor, found: MailCode, text: str
    ) -> Account:
        """Use a code up; the account that it is for, made if somebody signs up, and locked."""
        user_id = found.user_id
        # The user before the code, as whoever changes a password has it: else the two would wait for each other.
        if user_id is not None and not await self._repository.lock_active_user(
            transaction, visitor.tenant_id, user_id
        ):
            raise WrongCodeError
        await self._codes.use(transaction, text)
        if user_id is None:
            return await self._sign_up(transaction, visitor, found.email or "")
        return await self._get(transaction, visitor, user_id)

    async def _sign_up(self, transaction: Transaction, visitor: Visitor, email: str) -> Account:
        if await self._repository.find_sign_up_admin(transaction, visitor.tenant_id) is None:
            raise SignUpClosedError
        user_id = self._ids.new()
        is_new = await self._repository.insert_user(transaction, visitor.tenant_id, user_id, email)
        # Whoever has the code reads the address's mail: a user that others have made of it meanwhile is theirs, unless
        # they have a password by now.
        account = await self._repository.find_account(transaction, visitor.tenant_id, email)
        if account is None or account.is_suspended or account.encoded is not None:
            raise WrongCodeError
        if is_new:
            subject = Subject(user_reference(account.id), account.ledger_salt)
            act = Act("user.create", subject, account.id, purpose=account.role)
            await self._ledger.append(transaction, account, act)
        return account

    async def _set_password(
        self, transaction: Transaction, account: Account, encoded: str, kept: UUID | None
    ) -> None:
        """With it go what could undo it: codes that set another, and what whoever knew the old one has begun with it.

        A second factor stays: the next sign-in asks for it.
        """
        await self._repository.set_password(transaction, account, encoded)
        await self._repository.delete_codes(transaction, account.tenant_id, account.id)
        await self._factors.forget_challenges(transaction, account)
        await self._sessions.end_all_but(transaction, account, kept, EndReason.PASSWORD_CHANGED)
        if account.encoded is not None:
            await self._mail.send(transaction, account, letters.password_changed(account))

    async def _verify(self, transaction: Transaction, account: Account) -> None:
        if await self._repository.verify_email(transaction, account):
            await self._record(transaction, account, "account.verify", account)

    async def _record(
        self, transaction: Transaction, scope: Scope, action: Action, account: Account
    ) -> None:
        subject = Subject(user_reference(account.id), account.ledger_salt)
        await self._ledger.append(transaction, scope, Act(action, subject, account.id))
