"""Registering issuers, and authenticating whoever brings a token of one."""

import re
from typing import Final
from uuid import UUID

from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.issuers.errors import (
    IssuerExistsError,
    TokenRefusedError,
    TooManyIssuersError,
)
from undercroft.identity.issuers.fetching import IssuerKeys
from undercroft.identity.issuers.jwts import check, looks_like_token, read_unchecked
from undercroft.identity.issuers.models import (
    ISSUER_PREFIX,
    Claims,
    FixedAudience,
    Issuer,
    IssuerScope,
    Registration,
)
from undercroft.identity.issuers.repository import IssuerRepository
from undercroft.identity.models import Principal
from undercroft.identity.people import require_person
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.lru import LruCache
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import TENANT_PREFIX, Act, OperatorScope, Subject
from undercroft.ledger.service import Ledger

MOST_ISSUERS: Final = 20
"""Of one tenant; two who register at once may pass it by one."""
_KNOWN_SECONDS: Final = 30.0
"""For which a registration that was read is not read again. That it still stands is looked at each time."""
_KNOWN: Final = 1000
_URL: Final = re.compile(r"https?://[!-~]{1,490}")


class IssuerService:
    """Issuers of a tenant, and their users.

    Args:
        database: Where they are.
        ledger: Where it is put on record that one is registered, and whom it lets in.
        keys: Their keys.
        ids: Makes ids.
        clock: Judges tokens.
        address_issuers: Those that the operator lets name users by address. An admin alone cannot: with an issuer of
            their own they would be whomever they like, and read what is that one's alone.
        fixed_audiences: Those that name no tenant, and whose each is. Whoever registered one first would else get the
            users of whom it belongs to.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        keys: IssuerKeys,
        ids: IdSource,
        clock: Clock,
        address_issuers: frozenset[str] = frozenset(),
        fixed_audiences: frozenset[FixedAudience] = frozenset(),
    ) -> None:
        self._address_issuers = address_issuers
        self._fixed_audiences = fixed_audiences
        self._database = database
        self._ledger = ledger
        self._keys = keys
        self._ids = ids
        self._clock = clock
        self._repository = IssuerRepository()
        self._known: LruCache[tuple[str, tuple[str, ...]], tuple[float, Issuer]] = LruCache(_KNOWN)

    async def authenticate(self, token: str) -> Principal:
        """The principal behind a token of a registered issuer.

        Whoever is not known yet becomes a member, where the registration says so.

        Raises:
            UnauthenticatedError: When it is no such token.
            TokenRefusedError: When anything of the token does not hold, or names nobody.
            WeakAuthenticationError: When its bearer was not authenticated as the registration asks.
            IssuerUnreachableError: When it cannot be checked now.
        """
        if not looks_like_token(token):
            raise UnauthenticatedError
        unchecked = read_unchecked(token)
        issuer = await self._find_issuer(unchecked.issuer, unchecked.audiences)
        registration = issuer.registration
        if not self._is_theirs(issuer.tenant_id, registration):
            # The operator may have struck it off.
            raise TokenRefusedError
        # Before a key is looked for: `none`, a MAC under a public key, and whatever else was not pinned.
        if unchecked.algorithm not in registration.algorithms:
            raise TokenRefusedError
        key = await self._keys.find(registration.url, unchecked.key_id, unchecked.algorithm)
        if key is None:
            raise TokenRefusedError
        claims = check(token, key, registration, self._clock.now())
        async with self._database.statement_without_scope() as connection:
            principal = await self._repository.authenticate_issued(
                connection, issuer.id, claims.subject
            )
        if principal is None and await self._admit(issuer, claims):
            async with self._database.statement_without_scope() as connection:
                principal = await self._repository.authenticate_issued(
                    connection, issuer.id, claims.subject
                )
        if principal is None:
            raise TokenRefusedError
        return principal

    async def register(self, caller: Principal, new: Registration) -> Issuer:
        """Let whoever brings a token of an issuer be a user of the caller's tenant.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            InvalidRequestError: When the URL is none, or the audience is not the tenant's own, or nobody could get in.
            IssuerExistsError: When it is registered for this audience.
            TooManyIssuersError: When the tenant has as many as it may.
        """
        # Whoever says who is who has all that they are: what was narrowed must not get hold of that.
        require_person(caller)
        _require_sound(new)
        if not self._is_theirs(caller.tenant_id, new):
            raise _not_theirs(caller.tenant_id)
        if new.trusts_addresses and new.url not in self._address_issuers:
            raise InvalidRequestError(
                "It would be any of your users: have the operator list it in address_issuers first.",
                param="trusts_addresses",
            )
        await self._release(new)
        async with self._database.transaction(caller) as transaction:
            if await self._repository.count_issuers(transaction) >= MOST_ISSUERS:
                raise TooManyIssuersError(MOST_ISSUERS)
            issuer = await self._repository.insert_issuer(
                transaction, self._ids.new(), caller.tenant_id, new
            )
            if issuer is None:
                raise IssuerExistsError
            tenant = await self._ledger.tenant(transaction, caller.tenant_id)
            await self._ledger.append(transaction, caller, Act("issuer.create", tenant, None))
        return issuer

    async def list_issuers(self, caller: Principal, after: UUID | None, limit: int) -> list[Issuer]:
        """A page of the tenant's issuers, oldest first."""
        async with self._database.transaction(caller) as transaction:
            return await self._repository.list_issuers(transaction, after, limit)

    async def delete(self, caller: Principal, issuer_id: UUID) -> None:
        """Take no token of an issuer any more, from the next statement on. Its users stay.

        Raises:
            NotFoundError: When the tenant has no such issuer.
        """
        async with self._database.transaction(caller) as transaction:
            if not await self._repository.delete_issuer(transaction, issuer_id):
                raise NotFoundError("issuer", render_id(ISSUER_PREFIX, issuer_id))
            tenant = await self._ledger.tenant(transaction, caller.tenant_id)
            await self._ledger.append(transaction, caller, Act("issuer.delete", tenant, None))
        # Else one that is registered in its place, mended, was refused for half a minute by what this one said.
        self._known = LruCache(_KNOWN)

    async def _release(self, new: Registration) -> None:
        """Delete what another tenant has registered of a pair that the operator has struck off there.

        It counts for nothing any more, and would keep the pair from whom the operator has given it since.
        """
        async with self._database.statement_without_scope() as connection:
            found = await self._repository.find_issuers(connection, new.url, (new.audience,))
        for issuer in found:
            if self._is_theirs(issuer.tenant_id, issuer.registration):
                continue
            scope = OperatorScope(issuer.tenant_id)
            async with self._database.transaction(scope) as transaction:
                if await self._repository.delete_issuer(transaction, issuer.id):
                    tenant = await self._ledger.tenant(transaction, issuer.tenant_id)
                    await self._ledger.append(
                        transaction, scope, Act("issuer.delete", tenant, None)
                    )
            self._known = LruCache(_KNOWN)

    def _is_theirs(self, tenant_id: UUID, registration: Registration) -> bool:
        """Whether an audience is the tenant's: it says so itself, or the operator does."""
        own = render_id(TENANT_PREFIX, tenant_id)
        if re.fullmatch(rf"(?:[!-~]*[/:])?{own}", registration.audience) is not None:
            return True
        fixed = FixedAudience(own, registration.url, registration.audience)
        return fixed in self._fixed_audiences

    async def _find_issuer(self, url: str, audiences: tuple[str, ...]) -> Issuer:
        """The registration that a token is meant for. One that names two tenants names none."""
        now = self._clock.monotonic()
        known = self._known.get((url, audiences))
        if known is not None and now - known[0] < _KNOWN_SECONDS:
            return known[1]
        if "\x00" in url or any("\x00" in audience for audience in audiences):
            raise TokenRefusedError
        async with self._database.statement_without_scope() as connection:
            found = await self._repository.find_issuers(connection, url, audiences)
        if len(found) != 1:
            raise TokenRefusedError
        self._known.put((url, audiences), (now, found[0]))
        return found[0]

    async def _admit(self, issuer: Issuer, claims: Claims) -> bool:
        """Find or make the user that a subject stands for; whether there is one."""
        scope = IssuerScope(issuer.tenant_id, self._ids.new())
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.lock_issuer(transaction, issuer.id):
                return False
            url, subject = issuer.registration.url, claims.subject
            if await self._repository.find_issued_user(transaction, url, subject) is not None:
                return True
            # Looked at here too: the operator may have struck it off.
            trusted = issuer.registration.trusts_addresses and url in self._address_issuers
            address = claims.address if trusted else None
            user_id = None
            if address is not None:
                user_id = await self._repository.find_user_by_address(transaction, address)
            if user_id is None and issuer.registration.creates_users:
                user_id = await self._create_user(transaction, scope, address)
            if user_id is None:
                return False
            salt = await self._repository.get_user_salt(transaction, user_id)
            await self._repository.insert_issued_user(transaction, issuer, subject, user_id)
            act = Act("issuer.admit", Subject(user_reference(user_id), salt), user_id)
            await self._ledger.append(transaction, IssuerScope(issuer.tenant_id, user_id), act)
        return True

    async def _create_user(
        self, transaction: Transaction, scope: IssuerScope, address: str | None
    ) -> UUID | None:
        """A member of the tenant; None when somebody else took the address meanwhile."""
        user_id = scope.principal_id
        salt = await self._repository.insert_person(transaction, scope, address)
        if salt is None:
            return None
        about = Subject(user_reference(user_id), salt)
        act = Act("user.create", about, user_id, purpose="member")
        await self._ledger.append(transaction, scope, act)
        return user_id


def _not_theirs(tenant_id: UUID) -> InvalidRequestError:
    own = render_id(TENANT_PREFIX, tenant_id)
    return InvalidRequestError(
        f"The audience has to be this tenant's own: {own}, or any text that ends with /{own} or :{own}. Have the "
        "issuer make its tokens for that audience. Where it cannot, have the operator list its audience for this "
        "tenant in fixed_audiences first.",
        param="audience",
    )


def _require_sound(new: Registration) -> None:
    if _URL.fullmatch(new.url) is None or "?" in new.url or "#" in new.url:
        raise InvalidRequestError(
            "An issuer is named by an https URL without query and fragment.", param="issuer"
        )
    if not (new.creates_users or new.trusts_addresses):
        raise InvalidRequestError(
            "Nobody could come in: let it create users, or trust its addresses.",
            param="creates_users",
        )
