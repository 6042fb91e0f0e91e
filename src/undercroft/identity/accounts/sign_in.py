"""Signing in with a password, and with a second factor where there is one."""

from undercroft.identity.accounts import letters
from undercroft.identity.accounts.attempts import Attempts
from undercroft.identity.accounts.errors import WrongPasswordError
from undercroft.identity.accounts.hashing import HashingPlace, PasswordHasher
from undercroft.identity.accounts.models import NO_TENANT, Account, Client, Visitor
from undercroft.identity.accounts.pace import Pace
from undercroft.identity.accounts.passwords import prepare_password
from undercroft.identity.accounts.repository import AccountRepository
from undercroft.identity.second_factors.errors import ChallengeOverError, WrongSecondFactorError
from undercroft.identity.second_factors.models import Challenge, Proof
from undercroft.identity.second_factors.service import SecondFactors
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionTokens
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.database import Database, Transaction
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, Outcome, Subject
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue


class SignIn:
    """Makes a session of a tenant's name, an address and a password.

    What is wrong is told by nothing: a tenant or an address that is not there is looked for, counted, hashed for and
    refused as others are, and every refusal leaves on a beat.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        identity: IdentityService,
        sessions: SessionService,
        factors: SecondFactors,
        hasher: PasswordHasher,
        mail: MailQueue,
        pace: Pace,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._sessions = sessions
        self._factors = factors
        self._hasher = hasher
        self._mail = mail
        self._pace = pace
        self._attempts = Attempts(database)
        self._repository = AccountRepository()

    async def sign_in(
        self, tenant_name: str, email: str, password: str, client: Client
    ) -> SessionTokens | Challenge:
        """Open a session; for whoever has a second factor, ask for that.

        Raises:
            WrongPasswordError: When the three do not go together, or the user is suspended.
            TooManyAttemptsError: When too many did not before.
            UnavailableError: When too many people are signing in at this moment.
        """
        email = email.lower()
        async with self._pace.kept(), self._hasher.place() as place:
            visitor = Visitor(await self._identity.find_tenant_id(tenant_name) or NO_TENANT)
            async with self._database.transaction(visitor) as transaction:
                account = await self._repository.find_account(transaction, visitor.tenant_id, email)
            await self._attempts.take(visitor, email, client)
            secret = prepare_password(password)
            encoded = None if account is None or account.is_suspended else account.encoded
            if await place.is_password(secret, encoded) and account is not None:
                opened = await self._open(account, place, secret, client)
                if opened is not None:
                    return opened
            if account is not None:
                await self._record_refusal(account)
            raise WrongPasswordError

    async def answer(self, challenge: str, code: str, client: Client) -> SessionTokens:
        """Open a session for whoever has shown their password, and shows their second factor now.

        Raises:
            ChallengeOverError: When the challenge is not good, or the user suspended.
            WrongSecondFactorError: When the code is not; the challenge can be answered again.
            TooManyAttemptsError: When too many codes or passwords were wrong before.
        """
        async with self._pace.kept():
            challenged = await self._factors.find_challenged(challenge)
            async with self._database.transaction(challenged) as transaction:
                account = await self._repository.find_account_by_id(
                    transaction, challenged.tenant_id, challenged.principal_id
                )
            if account is None:
                raise ChallengeOverError
            await self._attempts.take_code(account, account.email, client)
            try:
                async with self._database.transaction(account) as transaction:
                    return await self._answer(transaction, account, challenge, code, client)
            except WrongSecondFactorError:
                await self._record_refusal(account)
                raise

    async def _answer(
        self, transaction: Transaction, account: Account, challenge: str, code: str, client: Client
    ) -> SessionTokens:
        # Whoever changes the password, suspends the user or takes the factor away meanwhile waits, or was first.
        if not await self._repository.lock_active_user(transaction, account.tenant_id, account.id):
            raise ChallengeOverError
        proof = await self._factors.answer(transaction, account, challenge, code)
        if proof is Proof.RECOVERY_CODE:
            subject = Subject(user_reference(account.id), account.ledger_salt)
            act = Act("account.use_recovery_code", subject, account.id)
            await self._ledger.append(transaction, account, act)
            await self._mail.send(transaction, account, letters.recovery_code_used(account))
        await self._attempts.forgive_codes(transaction, account, account.email, client)
        return await self._sessions.open_session(transaction, account, client.user_agent)

    async def _open(
        self, account: Account, place: HashingPlace, secret: bytes, client: Client
    ) -> SessionTokens | Challenge | None:
        """None when the password was changed, or the user suspended, while it was checked."""
        renewed = None
        if account.encoded is not None and self._hasher.is_outdated(account.encoded):
            renewed = await place.hash(secret)
        async with self._database.transaction(account) as transaction:
            # Whoever changes the password, suspends the user or enrols a second factor meanwhile waits, and then ends
            # this session as well.
            is_active = await self._repository.lock_active_user(
                transaction, account.tenant_id, account.id
            )
            encoded = await self._repository.find_password(transaction, account)
            if not is_active or encoded != account.encoded:
                return None
            if renewed is not None:
                await self._repository.renew_hash(transaction, account, renewed)
            if await self._factors.is_enabled(transaction, account):
                return await self._factors.challenge(transaction, account)
            await self._attempts.forgive(transaction, account, account.email, client)
            return await self._sessions.open_session(transaction, account, client.user_agent)

    async def _record_refusal(self, account: Account) -> None:
        act = Act(
            "session.refuse",
            Subject(user_reference(account.id), account.ledger_salt),
            account.id,
            outcome=Outcome.DENIED,
        )
        await self._ledger.append_denial(account, act)
