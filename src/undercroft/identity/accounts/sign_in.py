"""Signing in with a password."""

from undercroft.identity.accounts.attempts import Attempts
from undercroft.identity.accounts.errors import WrongPasswordError
from undercroft.identity.accounts.hashing import HashingPlace, PasswordHasher
from undercroft.identity.accounts.models import NO_TENANT, Account, Client, Visitor
from undercroft.identity.accounts.pace import Pace
from undercroft.identity.accounts.passwords import prepare_password
from undercroft.identity.accounts.repository import AccountRepository
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionTokens
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.database import Database
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, Outcome, Subject
from undercroft.ledger.service import Ledger


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
        hasher: PasswordHasher,
        pace: Pace,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._sessions = sessions
        self._hasher = hasher
        self._pace = pace
        self._attempts = Attempts(database)
        self._repository = AccountRepository()

    async def sign_in(
        self, tenant_name: str, email: str, password: str, client: Client
    ) -> SessionTokens:
        """Open a session.

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
                tokens = await self._open(account, place, secret, client)
                if tokens is not None:
                    return tokens
            if account is not None:
                act = Act(
                    "session.refuse",
                    Subject(user_reference(account.id), account.ledger_salt),
                    account.id,
                    outcome=Outcome.DENIED,
                )
                await self._ledger.append_denial(account, act)
            raise WrongPasswordError

    async def _open(
        self, account: Account, place: HashingPlace, secret: bytes, client: Client
    ) -> SessionTokens | None:
        """None when the password was changed, or the user suspended, while it was checked."""
        renewed = None
        if account.encoded is not None and self._hasher.is_outdated(account.encoded):
            renewed = await place.hash(secret)
        async with self._database.transaction(account) as transaction:
            # Whoever changes the password or suspends the user meanwhile waits, and then ends this session as well.
            is_active = await self._repository.lock_active_user(
                transaction, account.tenant_id, account.id
            )
            encoded = await self._repository.find_password(transaction, account)
            if not is_active or encoded != account.encoded:
                return None
            if renewed is not None:
                await self._repository.renew_hash(transaction, account, renewed)
            await self._attempts.forgive(transaction, account, account.email, client)
            return await self._sessions.open_session(transaction, account, client.user_agent)
