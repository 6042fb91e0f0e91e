"""Statements about share links, one method each."""

from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.tokens.models import LiveToken
from undercroft.identity.tokens.rows import read_token
from undercroft.kit.database import Transaction
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.sharing.links.models import LinkScope, ShareLink, StoredLink

_QUERIES: Final = load_queries("undercroft.sharing.links")


class LinkRepository:
    """Reads and writes share links."""

    async def insert_principal(self, transaction: Transaction, link_id: UUID) -> None:
        """The principal that a link's holders act as."""
        await _QUERIES.execute(transaction, "insert_principal", link_id)

    async def insert_link(
        self,
        transaction: Transaction,
        link_id: UUID,
        grant_id: UUID,
        token_hash: bytes,
        passcode: str | None,
        key_id: UUID | None,
        sealed_email: bytes | None,
        *,
        is_one_time: bool,
    ) -> None:
        """Keep a link."""
        await _QUERIES.execute(
            transaction,
            "insert_link",
            link_id,
            grant_id,
            token_hash,
            passcode,
            key_id,
            sealed_email,
            is_one_time,
        )

    async def find_scope(self, connection: AnyConnection, token_hash: bytes) -> LinkScope | None:
        """Whose tenant a token opens."""
        row = await _QUERIES.maybe(connection, "find_share_link", token_hash)
        return None if row is None else LinkScope(row["tenant_id"], row["link_id"])

    async def find_link(
        self, transaction: Transaction, link_id: UUID
    ) -> tuple[StoredLink, Record] | None:
        """A link, and its row with the keys of its address."""
        row = await _QUERIES.maybe(transaction, "find_link", link_id)
        if row is None:
            return None
        link = StoredLink(
            id=row["id"],
            tenant_id=row["tenant_id"],
            grant_id=row["grant_id"],
            passcode=row["passcode"],
            code_hash=row["code_hash"],
            is_code_good=row["is_code_good"],
            is_one_time=row["is_one_time"],
            redemptions=row["redemptions"],
            is_open=row["is_open"],
            has_step_up=row["sealed_email"] is not None,
        )
        return link, row

    async def take_failure(self, transaction: Transaction, link_id: UUID) -> bool:
        """Count an attempt as one that fails; False when there were too many."""
        return await _QUERIES.value(transaction, "take_failure", link_id) is not None

    async def keep_code(
        self, transaction: Transaction, link_id: UUID, code_hash: bytes, lifetime: timedelta
    ) -> bool:
        """Keep the code that is being sent, in place of the one before; False when enough were sent."""
        kept = await _QUERIES.value(transaction, "keep_code", link_id, code_hash, lifetime)
        return kept is not None

    async def hold_grant(self, transaction: Transaction, link_id: UUID) -> None:
        """Keep the grant behind a link from ending before the transaction does."""
        await _QUERIES.maybe(transaction, "hold_grant", link_id)

    async def redeem(
        self, transaction: Transaction, link_id: UUID, code_hash: bytes | None
    ) -> bool:
        """Count a redemption, by a code where it takes one; False when the link, or that code, was used meanwhile."""
        return await _QUERIES.value(transaction, "redeem", link_id, code_hash) is not None

    async def insert_token(
        self,
        transaction: Transaction,
        token_id: UUID,
        link: StoredLink,
        token_hash: bytes,
        lifetime: timedelta,
    ) -> datetime:
        """Keep an access token of a link's holder; when it ends."""
        return cast(
            "datetime",
            await _QUERIES.value(
                transaction,
                "insert_token",
                token_id,
                link.id,
                link.grant_id,
                token_hash,
                lifetime,
            ),
        )

    async def find_live_token(
        self, transaction: Transaction, token_hash: bytes
    ) -> LiveToken | None:
        """A link that opens for somebody, by the hash of its token."""
        row = await _QUERIES.maybe(transaction, "find_live_token", token_hash)
        return None if row is None else read_token(row)

    async def find_open_grant(self, transaction: Transaction, token_hash: bytes) -> UUID | None:
        """The grant behind a link, as long as that can be ended."""
        return cast("UUID | None", await _QUERIES.value(transaction, "find_open_grant", token_hash))

    async def list_links(
        self, transaction: Transaction, *, after: UUID | None, limit: int
    ) -> list[ShareLink]:
        """The links that the caller made."""
        rows = await _QUERIES.many(transaction, "list_links", after, limit)
        return [ShareLink(**dict(row)) for row in rows]
