"""Accounts and sessions, wired together for ``http/wiring.py``."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from undercroft.identity.accounts.codes import Codes
from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.identity.accounts.mailing import Mailing
from undercroft.identity.accounts.pace import Pace
from undercroft.identity.accounts.service import AccountService
from undercroft.identity.accounts.sign_in import SignIn
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionLifetimes
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue


@dataclass(frozen=True, slots=True)
class AccountServices:
    """What routes about accounts and sessions call."""

    sessions: SessionService
    accounts: AccountService
    mailing: Mailing
    sign_in: SignIn
    hasher: PasswordHasher


def open_accounts(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    ledger: Ledger,
    identity: IdentityService,
    mail: MailQueue,
    ids: IdSource,
    clock: Clock,
) -> AccountServices:
    """Everything about accounts, which ``stack`` closes."""
    lifetimes = SessionLifetimes(
        access=timedelta(minutes=settings.access_token_minutes),
        idle=timedelta(days=settings.session_idle_days),
        longest=timedelta(days=settings.session_days),
    )
    sessions = SessionService(database, ledger, ids, lifetimes)
    hasher = PasswordHasher(at_once=settings.password_checks)
    stack.callback(hasher.close)
    codes, pace = Codes(database, ids), Pace(clock)
    return AccountServices(
        sessions,
        AccountService(database, ledger, sessions, hasher, codes, mail, ids),
        Mailing(database, ledger, identity, codes, mail, pace),
        SignIn(database, ledger, identity, sessions, hasher, pace),
        hasher,
    )
