"""Who acts: users, services, their credentials and their sessions."""

from datetime import timedelta
from typing import Final

from undercroft.http.services import IdentityServices
from undercroft.http.wiring.foundation import Foundation
from undercroft.identity.accounts.codes import Codes
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
from undercroft.identity.policies import TenantPolicies
from undercroft.identity.second_factors.service import SecondFactors
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionLifetimes
from undercroft.identity.sessions.service import SessionService
from undercroft.identity.sessions.tokens import REFRESH_TOKEN_PREFIX
from undercroft.identity.tokens.kinds import AccessTokens, ApiKeys, RefreshTokens
from undercroft.identity.tokens.service import TokenService
from undercroft.identity.watching import WatchedCredentials
from undercroft.jobs.rounds import Rounds
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.tasks import run_until_closed

_CREDENTIAL_SECONDS: Final = 1.0


async def open_people(base: Foundation) -> IdentityServices:
    """All of it, until the foundation closes."""
    database, ledger, ids, clock = base.database, base.ledger, base.ids, base.clock
    issuers = await _open_issuers(base)
    identity = IdentityService(database, ledger, ids, clock, outside=issuers)
    members = MemberService(database, ledger, ids)
    exchangeable = {ACCESS_TOKEN_PREFIX: AccessTokens(), API_KEY_PREFIX: ApiKeys()}
    kinds = {**exchangeable, REFRESH_TOKEN_PREFIX: RefreshTokens()}
    sessions = SessionService(database, ledger, ids, _lifetimes(base))
    codes, pace = Codes(database, ids), Pace(clock)
    factors = SecondFactors(database, base.keys, clock)
    accounts = AccountService(
        database, ledger, sessions, factors, base.hasher, codes, base.mail, ids
    )
    return IdentityServices(
        identity=identity,
        watched_credentials=_watch_credentials(base, identity),
        tokens=TokenService(database, ledger, kinds),
        exchange=ExchangeService(
            database, ledger, TokenService(database, ledger, exchangeable), ids
        ),
        sessions=sessions,
        accounts=accounts,
        second_factors=AccountSecondFactors(
            database, ledger, accounts, factors, sessions, base.hasher, base.mail
        ),
        mailing=Mailing(database, ledger, identity, codes, base.mail, pace),
        sign_in=SignIn(database, ledger, identity, sessions, factors, base.hasher, base.mail, pace),
        issuers=issuers,
        members=members,
        groups=GroupService(database, ledger, members, ids),
        api_keys=ApiKeyService(database, ledger, members, ids, clock),
        policies=TenantPolicies(database, ledger),
    )


async def _open_issuers(base: Foundation) -> IssuerService:
    """Whose tokens are taken, and what fetches their keys: guarded, as tenants name them."""
    egress = EgressPolicy.of(base.settings)
    outgoing = await base.stack.enter_async_context(open_guarded_client(egress))
    keys = IssuerKeys(outgoing, base.clock)
    base.stack.push_async_callback(keys.close)
    return IssuerService(
        base.database,
        base.ledger,
        keys,
        base.ids,
        base.clock,
        frozenset(base.settings.address_issuers),
        frozenset(FixedAudience(*entry.split()) for entry in base.settings.fixed_audiences),
    )


def _lifetimes(base: Foundation) -> SessionLifetimes:
    return SessionLifetimes(
        access=timedelta(minutes=base.settings.access_token_minutes),
        idle=timedelta(days=base.settings.session_idle_days),
        longest=timedelta(days=base.settings.session_days),
    )


def _watch_credentials(base: Foundation, identity: IdentityService) -> WatchedCredentials:
    """End what is open under credentials that end."""
    watched = WatchedCredentials(identity)
    rounds = Rounds("watch_credentials", watched.check, _CREDENTIAL_SECONDS)
    run_until_closed(base.stack, rounds.run())
    return watched
