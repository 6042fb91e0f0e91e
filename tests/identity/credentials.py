"""People and services with credentials, as the database keeps them, and the parts that know what to do with them."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.conftest import MakeScope, Member
from undercroft.identity.exchange.service import ExchangeService
from undercroft.identity.keys import (
    ACCESS_TOKEN_PREFIX,
    API_KEY_PREFIX,
    make_access_token,
    make_key,
)
from undercroft.identity.models import Principal
from undercroft.identity.service import IdentityService
from undercroft.identity.tokens.kinds import AccessTokens, ApiKeys
from undercroft.identity.tokens.service import TokenService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.tokens import hash_token
from undercroft.ledger.service import Ledger

HOUR = timedelta(hours=1)
ALL = ("act_for_users", "documents:read", "documents:write", "search", "keys", "administer")


@dataclass(frozen=True, slots=True)
class Held:
    """A credential and whose it is."""

    holder: Member
    secret: str
    id: UUID


class Desk:
    """Issues credentials to people and services of a test, and holds the services that take them."""

    def __init__(self, database: Database, make_scope: MakeScope) -> None:
        ids, clock = IdSource(), SystemClock()
        ledger = Ledger(database, ids, clock)
        self._database = database
        self._make_scope = make_scope
        self.ids = ids
        self.identity = IdentityService(database, ledger, ids, clock)
        kinds = {ACCESS_TOKEN_PREFIX: AccessTokens(), API_KEY_PREFIX: ApiKeys()}
        self.tokens = TokenService(database, ledger, kinds)
        self.exchange = ExchangeService(database, ledger, self.tokens, ids)

    async def person(self, tenant_id: UUID | None = None, *, role: str = "member") -> Member:
        return await self._make_scope(tenant_id, role=role)

    async def service(self, tenant_id: UUID, *, role: str = "member") -> Member:
        service = Member(tenant_id, self.ids.new(), "")
        await self.run(
            service,
            "INSERT INTO users (id, tenant_id, role, kind, name) VALUES ($1, $2, $3, 'service', $4)",
            service.principal_id,
            tenant_id,
            role,
            f"robot {service.principal_id.hex}",
        )
        return service

    async def key(
        self,
        holder: Member,
        scopes: tuple[str, ...] | None = None,
        lifetime: timedelta | None = None,
    ) -> Held:
        key, key_id = make_key(os.urandom), self.ids.new()
        await self.run(
            holder,
            "INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash, scopes, expires_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            key_id,
            holder.tenant_id,
            holder.principal_id,
            key.prefix,
            key.key_hash,
            scopes,
            None if lifetime is None else datetime.now(UTC) + lifetime,
        )
        return Held(holder, key.secret, key_id)

    async def token(
        self, holder: Member, scopes: tuple[str, ...] | None = None, lifetime: timedelta = HOUR
    ) -> Held:
        secret, token_id = make_access_token(os.urandom), self.ids.new()
        await self.run(
            holder,
            "INSERT INTO access_tokens (id, tenant_id, user_id, token_hash, scopes, expires_at)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            token_id,
            holder.tenant_id,
            holder.principal_id,
            hash_token(secret),
            scopes,
            datetime.now(UTC) + lifetime,
        )
        return Held(holder, secret, token_id)

    async def robot(self, tenant_id: UUID, scopes: tuple[str, ...] = ALL) -> Principal:
        """A service that authenticated with a key of these scopes."""
        service = await self.service(tenant_id, role="admin")
        return await self.identity.authenticate((await self.key(service, scopes)).secret)

    async def run(self, scope: Member, statement: str, *arguments: object) -> None:
        async with self._database.transaction(scope) as transaction:
            await transaction.execute(statement, *arguments)
