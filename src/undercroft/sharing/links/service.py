"""Making and redeeming share links."""

import hmac
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NoReturn
from uuid import UUID

from asyncpg import Record

from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.identity.accounts.passwords import prepare_password
from undercroft.identity.keys import make_access_token
from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import Message
from undercroft.kit.scope import Scope
from undercroft.kit.tokens import hash_token, is_token, make_token
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Outcome
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue
from undercroft.sharing.links.errors import (
    LinkNotFoundError,
    LinkRefusedError,
    WrongLinkCodeError,
    WrongPasscodeError,
)
from undercroft.sharing.links.models import (
    LINK_ACTIONS,
    LINK_TOKEN_PREFIX,
    CodeSent,
    CreatedLink,
    LinkScope,
    LinkTerms,
    RedeemedLink,
    ShareLink,
    StoredLink,
    hash_code,
    make_code,
)
from undercroft.sharing.links.repository import LinkRepository
from undercroft.sharing.models import Grantee, GranteeKind, Resource
from undercroft.sharing.service import GrantService, subject_of

_TOKEN_LIFETIME: Final = timedelta(hours=1)
_CODE_LIFETIME: Final = timedelta(minutes=10)


class ShareLinks:
    """Grants for whoever holds a token.

    Args:
        database: Where links are.
        grants: Make the grant behind each.
        ledger: Where making, redeeming and refusing one is put on record.
        keys: Seal the address that a code is sent to.
        hasher: Of passcodes.
        mail: Sends codes.
        ids: Makes ids.
        entropy: Where tokens and codes come from.
    """

    def __init__(
        self,
        database: Database,
        grants: GrantService,
        ledger: Ledger,
        keys: RowKeys,
        hasher: PasswordHasher,
        mail: MailQueue,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._grants = grants
        self._ledger = ledger
        self._keys = keys
        self._hasher = hasher
        self._mail = mail
        self._ids = ids
        self._entropy = entropy
        self._repository = LinkRepository()

    async def create(self, scope: Scope, resource: Resource, wanted: LinkTerms) -> CreatedLink:
        """Make a link to something that is the principal's, or that they may share on.

        Raises:
            InvalidRequestError: When it is for more than a link can be for.
            NotFoundError: When the principal may see no such thing.
            WideningError: When it would give more than was given.
        """
        beyond = sorted(wanted.terms.actions - LINK_ACTIONS)
        if beyond:
            raise InvalidRequestError(
                f"'{beyond[0]}' needs somebody whom one knows: grant it to a user.", param="actions"
            )
        passcode = None if wanted.passcode is None else await self._hash(wanted.passcode)
        link_id, token = self._ids.new(), make_token(LINK_TOKEN_PREFIX, self._entropy)
        async with self._grants.refusing(scope, "share_link.create", resource) as transaction:
            await self._repository.insert_principal(transaction, link_id)
            holder = Grantee(GranteeKind.USER, link_id)
            grant = await self._grants.create_in(transaction, scope, resource, holder, wanted.terms)
            key_id, sealed = await self._seal(transaction, scope, link_id, wanted.email)
            await self._repository.insert_link(
                transaction,
                link_id,
                grant.id,
                hash_token(token),
                passcode,
                key_id,
                sealed,
                is_one_time=wanted.is_one_time,
            )
            await self._record(transaction, scope, "share_link.create", resource, grant.id)
        return CreatedLink(link_id, grant, token)

    async def list_links(self, scope: Scope, *, after: UUID | None, limit: int) -> list[ShareLink]:
        """The links that the principal made, the oldest first."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_links(transaction, after=after, limit=limit)

    async def redeem(
        self, token: str, passcode: str | None, code: str | None
    ) -> RedeemedLink | CodeSent:
        """An access token for whoever holds a link, knows its passcode and gets its mail.

        Raises:
            LinkNotFoundError: When it does not open for anybody.
            LinkRefusedError: When the passcode or the code is wrong.
            UnavailableError: When too many passcodes are being checked.
        """
        scope = await self._find(token)
        async with self._database.transaction(scope) as transaction:
            link, row = await self._open(transaction, scope)
            is_guarded = link.passcode is not None or link.has_step_up
            if is_guarded and not await self._repository.take_failure(transaction, link.id):
                raise LinkNotFoundError
        if link.passcode is not None and not await self._is_passcode(passcode, link.passcode):
            await self._refuse(scope, link, WrongPasscodeError())
        if link.has_step_up:
            if code is None:
                return await self._send_code(scope, link, row)
            if not _is_code(code, link):
                await self._refuse(scope, link, WrongLinkCodeError())
        return await self._redeem(scope, link.code_hash if link.has_step_up else None)

    async def _find(self, token: str) -> LinkScope:
        if not is_token(LINK_TOKEN_PREFIX, token):
            raise LinkNotFoundError
        async with self._database.statement_without_scope() as connection:
            scope = await self._repository.find_scope(connection, hash_token(token))
        if scope is None:
            raise LinkNotFoundError
        return scope

    async def _open(self, transaction: Transaction, scope: LinkScope) -> tuple[StoredLink, Record]:
        found = await self._repository.find_link(transaction, scope.principal_id)
        if found is None or not found[0].is_open:
            raise LinkNotFoundError
        if found[0].is_one_time and found[0].redemptions > 0:
            raise LinkNotFoundError
        return found

    async def _redeem(self, scope: LinkScope, code_hash: bytes | None) -> RedeemedLink:
        token = make_access_token(self._entropy)
        async with self._database.transaction(scope) as transaction:
            await self._repository.hold_grant(transaction, scope.principal_id)
            if not await self._repository.redeem(transaction, scope.principal_id, code_hash):
                raise LinkNotFoundError
            # Once more, with both rows locked: it may have been revoked while the passcode was being checked.
            found = await self._repository.find_link(transaction, scope.principal_id)
            if found is None or not found[0].is_open:
                raise LinkNotFoundError
            link, _ = found
            expires_at = await self._repository.insert_token(
                transaction, self._ids.new(), link, hash_token(token), _TOKEN_LIFETIME
            )
            grant = await self._grants.get_in(transaction, scope, link.grant_id)
            await self._record(
                transaction, scope, "share_link.redeem", grant.resource, link.grant_id
            )
        return RedeemedLink(link.id, link.grant_id, token, expires_at)

    async def _send_code(self, scope: LinkScope, link: StoredLink, row: Record) -> CodeSent:
        code = make_code(self._entropy)
        code_hash = hash_code(code, link.id)
        key = await self._keys.open(row)
        place = address_place(scope.tenant_id, scope.principal_id)
        email = unseal(key.material, row["sealed_email"], place).decode()
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.keep_code(
                transaction, link.id, code_hash, _CODE_LIFETIME
            ):
                raise LinkNotFoundError
            await self._mail.send(transaction, scope, _letter(email, code))
        return CodeSent(link.id)

    async def _refuse(
        self, scope: LinkScope, link: StoredLink, error: LinkRefusedError
    ) -> NoReturn:
        async with self._database.transaction(scope) as transaction:
            grant = await self._grants.get_in(transaction, scope, link.grant_id)
            shared = await self._grants.get_resource(transaction, grant.resource)
        denied = Act(
            "share_link.redeem",
            subject_of(shared),
            shared.owner_id,
            outcome=Outcome.DENIED,
            grant_id=link.grant_id,
        )
        await self._ledger.append_denial(scope, denied)
        raise error

    async def _record(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        resource: Resource,
        grant_id: UUID,
    ) -> None:
        shared = await self._grants.get_resource(transaction, resource)
        act = Act(action, subject_of(shared), shared.owner_id, grant_id=grant_id)
        await self._ledger.append(transaction, scope, act)

    async def _seal(
        self, transaction: Transaction, scope: Scope, link_id: UUID, email: str | None
    ) -> tuple[UUID | None, bytes | None]:
        if email is None:
            return None, None
        key = await self._keys.create(transaction, scope)
        place = address_place(scope.tenant_id, link_id)
        return key.id, seal(key.material, email.encode(), place)

    async def _hash(self, passcode: str) -> str:
        async with self._hasher.place() as place:
            return await place.hash(prepare_password(passcode))

    async def _is_passcode(self, passcode: str | None, encoded: str) -> bool:
        if passcode is None:
            return False
        async with self._hasher.place() as place:
            return await place.is_password(prepare_password(passcode), encoded)


def _is_code(code: str, link: StoredLink) -> bool:
    if link.code_hash is None or not link.is_code_good:
        return False
    return hmac.compare_digest(hash_code(code, link.id), link.code_hash)


def _letter(email: str, code: str) -> Message:
    text = (
        "Somebody who holds a link that was shared with this address wants to open it.\n\n"
        f"If it is you, enter this code within ten minutes:\n\n{code}\n\n"
        "If it is not you, do nothing, and tell whoever gave you the link: somebody else has it.\n"
    )
    return Message(email, "The code for your link", text)


def address_place(tenant_id: UUID, link_id: UUID) -> bytes:
    """What the sealed address is bound to that a link's codes are sent to."""
    return bind(tenant_id, "share_links", link_id, "email")
