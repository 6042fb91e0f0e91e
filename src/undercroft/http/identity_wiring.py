"""Everything about who acts, wired together for ``http/wiring.py``."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from undercroft.identity.accounts.codes import Codes
from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.identity.accounts.mailing import Mailing
from undercroft.identity.accounts.pace import Pace
from undercroft.identity.accounts.second_factor import AccountSecondFactors
from undercroft.identity.accounts.service import AccountService
from undercroft.identity.accounts.sign_in import SignIn
from undercroft.identity.api_keys import ApiKeyService
from undercroft.identity.exchange.service import ExchangeService
from undercroft.identity.groups.service import GroupService
from undercroft.identity.issuers.fetching import IssuerKeys
from undercroft.identity.issuers.models import FixedAudience
from undercroft.identity.issuers.service import IssuerService
from undercroft.identity.keys import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX
from undercroft.identity.members.service import MemberService
from undercroft.identity.second_factors.service import SecondFactors
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionLifetimes
from undercroft.identity.sessions.service import SessionService
from undercroft.identity.sessions.tokens import REFRESH_TOKEN_PREFIX
from undercroft.identity.tokens.kinds import AccessTokens, ApiKeys, RefreshTokens
from undercroft.identity.tokens.service import TokenService
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue


@dataclass(frozen=True, slots=True)
class IdentityServices:
    """What routes about users, their credentials and their sessions call."""

    identity: IdentityService
    issuers: IssuerService
    members: MemberService
    groups: GroupService
    api_keys: ApiKeyService
    tokens: TokenService
    exchange: ExchangeService
    sessions: SessionService
    accounts: AccountService
    second_factors: AccountSecondFactors
    mailing: Mailing
    sign_in: SignIn
    hasher: PasswordHasher


async def open_identity(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    ledger: Ledger,
    mail: MailQueue,
    keys: RowKeys,
    ids: IdSource,
    clock: Clock,
) -> IdentityServices:
    """All of it, which ``stack`` closes."""
    outgoing = await stack.enter_async_context(open_guarded_client(EgressPolicy.of(settings)))
    issuer_keys = IssuerKeys(outgoing, clock)
    stack.push_async_callback(issuer_keys.close)
    issuers = IssuerService(
        database,
        ledger,
        issuer_keys,
        ids,
        clock,
        frozenset(settings.address_issuers),
        frozenset(FixedAudience(*entry.split()) for entry in settings.fixed_audiences),
    )
    identity = IdentityService(database, ledger, ids, clock, outside=issuers)
    members = MemberService(database, ledger, ids)
    exchangeable = {ACCESS_TOKEN_PREFIX: AccessTokens(), API_KEY_PREFIX: ApiKeys()}
    kinds = {**exchangeable, REFRESH_TOKEN_PREFIX: RefreshTokens()}
    tokens = TokenService(database, ledger, kinds)
    lifetimes = SessionLifetimes(
        access=timedelta(minutes=settings.access_token_minutes),
        idle=timedelta(days=settings.session_idle_days),
        longest=timedelta(days=settings.session_days),
    )
    sessions = SessionService(database, ledger, ids, lifetimes)
    hasher = PasswordHasher(at_once=settings.password_checks)
    stack.callback(hasher.close)
    codes, pace = Codes(database, ids), Pace(clock)
    factors = SecondFactors(database, keys, clock)
    accounts = AccountService(database, ledger, sessions, factors, hasher, codes, mail, ids)
    return IdentityServices(
        identity=identity,
        issuers=issuers,
        members=members,
        groups=GroupService(database, ledger, members, ids),
        api_keys=ApiKeyService(database, ledger, members, ids, clock),
        tokens=tokens,
        exchange=ExchangeService(
            database, ledger, TokenService(database, ledger, exchangeable), ids
        ),
        sessions=sessions,
        accounts=accounts,
        second_factors=AccountSecondFactors(
            database, ledger, accounts, factors, sessions, hasher, mail
        ),
        mailing=Mailing(database, ledger, identity, codes, mail, pace),
        sign_in=SignIn(database, ledger, identity, sessions, factors, hasher, mail, pace),
        hasher=hasher,
    )
