"""Asking for mails: anybody may, so what they are answered says nothing about who has an account."""

from undercroft.identity.accounts import letters
from undercroft.identity.accounts.attempts import Attempts
from undercroft.identity.accounts.codes import Codes
from undercroft.identity.accounts.errors import SignUpClosedError
from undercroft.identity.accounts.models import (
    NO_TENANT,
    Account,
    Client,
    CodePurpose,
    MailCode,
    Visitor,
)
from undercroft.identity.accounts.pace import Pace
from undercroft.identity.accounts.repository import AccountRepository
from undercroft.identity.service import IdentityService
from undercroft.kit.database import Database, Transaction
from undercroft.kit.mail.message import check_address
from undercroft.kit.scope import Scope
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, ActorScope, Subject
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue


class Mailing:
    """Sends codes to addresses that somebody names.

    Each answer leaves on a beat and is the same, whether a mail is sent or not.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        identity: IdentityService,
        codes: Codes,
        mail: MailQueue,
        pace: Pace,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._identity = identity
        self._codes = codes
        self._mail = mail
        self._pace = pace
        self._attempts = Attempts(database)
        self._repository = AccountRepository()

    async def ask_for_password(self, tenant_name: str, email: str, client: Client) -> None:
        """Send a code for a new password to whoever has an account with this address.

        Raises:
            InvalidMessageError: When no mail can be sent to such an address.
            TooManyAttemptsError: When the client has asked for too many mails.
        """
        email = check_address(email.lower())
        async with self._pace.kept():
            visitor = await self._visit(tenant_name)
            await self._attempts.take_mail(visitor, client)
            async with self._database.transaction(visitor) as transaction:
                account = await self._repository.find_account(transaction, visitor.tenant_id, email)
            if account is not None:
                await self._send_reset(account)

    async def sign_up(self, tenant_name: str, email: str, client: Client) -> None:
        """Send a code that makes an account, or a new password to whoever has one.

        The account is made when the code is used: nobody can make one for somebody else's address, nor fill a tenant
        with such that nobody uses.

        Raises:
            InvalidMessageError: When no mail can be sent to such an address.
            SignUpClosedError: When the tenant's people are invited, or there is no such tenant.
            TooManyAttemptsError: When the client has asked for too many mails.
        """
        email = check_address(email.lower())
        async with self._pace.kept():
            visitor = await self._visit(tenant_name)
            await self._attempts.take_mail(visitor, client)
            async with self._database.transaction(visitor) as transaction:
                admin_id = await self._repository.find_sign_up_admin(transaction, visitor.tenant_id)
                if admin_id is None:
                    raise SignUpClosedError
                account = await self._repository.find_account(transaction, visitor.tenant_id, email)
                if account is None:
                    sender = ActorScope(visitor.tenant_id, admin_id)
                    await self._send_sign_up(transaction, sender, tenant_name, email)
            if account is not None:
                await self._send_reset(account)

    async def _visit(self, tenant_name: str) -> Visitor:
        return Visitor(await self._identity.find_tenant_id(tenant_name) or NO_TENANT)

    async def _send_sign_up(
        self, transaction: Transaction, sender: Scope, tenant_name: str, email: str
    ) -> None:
        wanted = MailCode(CodePurpose.SIGN_UP, None, email)
        code = await self._codes.issue(transaction, sender.tenant_id, wanted)
        if code is not None:
            await self._mail.send(transaction, sender, letters.sign_up(tenant_name, email, code))

    async def _send_reset(self, account: Account) -> None:
        async with self._database.transaction(account) as transaction:
            # Locked: of many who ask at once, each sees the codes that those before it have made.
            is_active = await self._repository.lock_active_user(
                transaction, account.tenant_id, account.id
            )
            if not is_active:
                return
            wanted = MailCode(CodePurpose.PASSWORD_RESET, account.id, None)
            code = await self._codes.issue(transaction, account.tenant_id, wanted)
            if code is None:
                return
            await self._mail.send(transaction, account, letters.password_reset(account, code))
            subject = Subject(user_reference(account.id), account.ledger_salt)
            act = Act("account.request_password", subject, account.id)
            await self._ledger.append(transaction, account, act)
