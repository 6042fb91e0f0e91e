"""Sharing's statements, one method each."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.models import (
    ConsentBasis,
    Dependency,
    Ending,
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    ModelUse,
    Parts,
    Resource,
    ResourceKind,
    SharedResource,
    Terms,
    Way,
)
from undercroft.sharing.policy import read_pages, read_ways, render_pages

_QUERIES: Final = load_queries("undercroft.sharing")
_COLUMNS: Final = {
    ResourceKind.DOCUMENT: "document_id",
    ResourceKind.COLLECTION: "collection_id",
    ResourceKind.RECORD: "record_id",
    ResourceKind.RESPONSE: "response_id",
    ResourceKind.CONVERSATION: "conversation_id",
}


class GrantRepository:
    """Reads and writes grants."""

    async def find_resource(
        self, transaction: Transaction, resource: Resource
    ) -> SharedResource | None:
        """Whose a thing of the tenant's is."""
        kind = resource.kind.name.lower()
        row = await _QUERIES.maybe(transaction, "find_resource", resource.id, kind)
        return None if row is None else SharedResource(resource, row["owner_id"], row["salt"])

    async def has_grantee(self, transaction: Transaction, grantee: Grantee) -> bool:
        """Whether the tenant has such a user or group."""
        if grantee.kind is GranteeKind.USER:
            return cast("bool", await _QUERIES.value(transaction, "has_user", grantee.id))
        if grantee.kind is GranteeKind.GROUP:
            return cast("bool", await _QUERIES.value(transaction, "has_group", grantee.id))
        return True

    async def insert_grant(
        self,
        transaction: Transaction,
        grant_id: UUID,
        resource: Resource,
        parent_id: UUID | None,
        grantee: Grantee,
        terms: Terms,
        consent_id: UUID | None,
    ) -> None:
        """Keep a grant of the caller's."""
        parts = terms.parts
        await _QUERIES.execute(
            transaction,
            "insert_grant",
            grant_id,
            *(resource.id if kind is resource.kind else None for kind in _COLUMNS),
            parent_id,
            grantee.id if grantee.kind is GranteeKind.USER else None,
            grantee.id if grantee.kind is GranteeKind.GROUP else None,
            sorted(terms.actions),
            None if terms.fields is None else sorted(terms.fields),
            render_pages(parts.pages) if parts is not None and parts.pages else None,
            None if parts is None else list(parts.sections),
            terms.purpose,
            terms.not_before,
            terms.expires_at,
            terms.max_uses,
            None if terms.model_use is None else sorted(terms.model_use),
            consent_id,
        )

    async def choose_consent(
        self, transaction: Transaction, resource_id: UUID, terms: Terms
    ) -> ConsentBasis | None:
        """What a grant with these terms may rest on, held until the transaction ends; None when nothing is personal."""
        fields = None if terms.fields is None else sorted(terms.fields)
        row = await _QUERIES.maybe(
            transaction, "choose_consent", resource_id, fields, terms.purpose
        )
        if row is None:
            return None
        return ConsentBasis(
            row["subject_id"], row["consent_id"], row["purpose"], row["valid_until"]
        )

    async def list_under_consent(self, transaction: Transaction, consent_id: UUID) -> list[UUID]:
        """The grants that rest on a consent and have not ended."""
        rows = await _QUERIES.many(transaction, "list_under_consent", consent_id)
        return [row["id"] for row in rows]

    async def list_running(self, transaction: Transaction, resource_id: UUID) -> list[UUID]:
        """The grants of a thing under which something may still run, the oldest first."""
        return [row["id"] for row in await _QUERIES.many(transaction, "list_running", resource_id)]

    async def find_grant(self, transaction: Transaction, grant_id: UUID) -> Grant | None:
        """A grant of the tenant's."""
        row = await _QUERIES.maybe(transaction, "find_grant", grant_id)
        return None if row is None else _read_grant(row)

    async def list_of(
        self,
        transaction: Transaction,
        resource: Resource,
        *,
        everybodys: bool,
        after: UUID | None,
        limit: int,
    ) -> list[Grant]:
        """The grants of one thing, the ended ones too; without ``everybodys`` those that the caller gave or holds."""
        rows = await _QUERIES.many(transaction, "list_of", resource.id, everybodys, after, limit)
        return [_read_grant(row) for row in rows]

    async def list_given(
        self, transaction: Transaction, *, after: UUID | None, limit: int
    ) -> list[Grant]:
        """The grants that the caller made, the ended ones too."""
        rows = await _QUERIES.many(transaction, "list_given", after, limit)
        return [_read_grant(row) for row in rows]

    async def list_for_sharing(
        self, transaction: Transaction, resource_id: UUID
    ) -> AsyncGenerator[Grant]:
        """The caller's grants to share a thing on, the oldest first, as many as are asked for."""
        after: UUID | None = None
        while rows := await _QUERIES.many(transaction, "list_for_sharing", resource_id, after):
            for row in rows:
                yield _read_grant(row)
            after = rows[-1]["id"]

    async def hold_chain(self, transaction: Transaction, grant_id: UUID) -> bool:
        """Keep a grant and what it derives from as they are; False when one of them has ended."""
        return cast("bool", await _QUERIES.value(transaction, "hold_grant_chain", grant_id))

    async def end_grants(
        self, transaction: Transaction, grant_ids: Sequence[UUID], reason: Ending
    ) -> list[UUID]:
        """End grants and whatever derives from them; answers which have ended."""
        rows = await _QUERIES.many(transaction, "end_grants", list(grant_ids), reason)
        return [row["id"] for row in rows]

    async def use_grants(self, transaction: Transaction, grant_ids: Sequence[UUID]) -> bool:
        """Count one use of each; False when one has none left, and then the transaction has to be rolled back."""
        return cast("bool", await _QUERIES.value(transaction, "use_grants", list(grant_ids)))

    async def hold_grants(self, transaction: Transaction, grant_ids: Sequence[UUID]) -> bool:
        """Keep grants as they are; False when one of them has ended."""
        return cast("bool", await _QUERIES.value(transaction, "hold_grants", list(grant_ids)))

    async def list_lost(
        self, connection: Transaction, dependencies: Sequence[Dependency]
    ) -> dict[Dependency, bool]:
        """Which of these do not carry any more what runs under them, and whether it is for want of a second factor."""
        rows = await _QUERIES.many(
            connection,
            "list_lost_releases",
            [each.holder_id for each in dependencies],
            [each.actor_id for each in dependencies],
            [each.document_id for each in dependencies],
            [each.grant_id for each in dependencies],
            [each.is_searched for each in dependencies],
        )
        return {dependencies[row["place"] - 1]: row["owes_factor"] for row in rows}

    async def is_held(self, transaction: Transaction, grant_id: UUID) -> bool:
        """Whether a grant is made out to the caller."""
        return cast("bool", await _QUERIES.value(transaction, "is_held", grant_id))

    async def has_given(self, transaction: Transaction, grant_id: UUID) -> bool:
        """Whether the caller gave a grant or one that it derives from."""
        return cast("bool", await _QUERIES.value(transaction, "has_given", grant_id))

    async def explain_ways(
        self, transaction: Transaction, resource: Resource
    ) -> dict[GrantAction, tuple[Way, ...]]:
        """For each action that the caller may take on what is not theirs, the ways in which they may."""
        kind = resource.kind.name.lower()
        rows = await _QUERIES.many(
            transaction, "explain_ways", resource.id, kind, list(GrantAction)
        )
        return {
            GrantAction(row["action"]): read_ways(row["ways"])
            for row in rows
            if row["ways"] is not None
        }

    async def list_purposes(
        self, transaction: Transaction, resource_id: UUID, limit: int
    ) -> list[str]:
        """The purposes for which the caller may have a way to a thing, by their codes."""
        rows = await _QUERIES.many(transaction, "list_purposes", resource_id, limit)
        return [row["purpose"] for row in rows]

    async def state_purpose(self, transaction: Transaction, purpose: str | None) -> None:
        """Let the rest of a transaction be for a purpose, or for none."""
        await _QUERIES.value(transaction, "state_purpose", purpose or "")

    async def list_chain(self, transaction: Transaction, grant_ids: Sequence[UUID]) -> list[Grant]:
        """Some grants, and those that they derive from."""
        rows = await _QUERIES.many(transaction, "list_chain", list(grant_ids))
        return [_read_grant(row) for row in rows]

    async def list_visible(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Resource]:
        """What the caller may have a way to, by id."""
        rows = await _QUERIES.many(transaction, "list_visible", after, limit)
        return [Resource(ResourceKind[row["kind"].upper()], row["resource_id"]) for row in rows]

    async def list_principals(
        self,
        transaction: Transaction,
        resource_id: UUID,
        owner_id: UUID,
        after: UUID,
        limit: int,
    ) -> list[UUID]:
        """Who of the tenant may have a way to a thing, by id."""
        rows = await _QUERIES.many(
            transaction, "list_principals", resource_id, owner_id, after, limit
        )
        return [row["id"] for row in rows]


def _read_grant(row: Record) -> Grant:
    kind = next(kind for kind, column in _COLUMNS.items() if row[column] is not None)
    return Grant(
        id=row["id"],
        resource=Resource(kind, row[_COLUMNS[kind]]),
        owner_id=row["owner_id"],
        grantor_id=row["grantor_id"],
        parent_id=row["parent_id"],
        grantee=_read_grantee(row),
        terms=_read_terms(row),
        uses=row["uses"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        ending=None if row["ending"] is None else Ending(row["ending"]),
        cut_at=row["cut_at"],
        consent_id=row["consent_id"],
    )


def _read_grantee(row: Record) -> Grantee:
    if row["user_id"] is not None:
        return Grantee(GranteeKind.USER, row["user_id"])
    if row["group_id"] is not None:
        return Grantee(GranteeKind.GROUP, row["group_id"])
    return Grantee(GranteeKind.TENANT, row["tenant_id"])


def _read_terms(row: Record) -> Terms:
    pages, sections, model_use = row["pages"], row["sections"], row["model_use"]
    is_partial = pages is not None or sections is not None
    return Terms(
        actions=frozenset(map(GrantAction, row["actions"])),
        fields=None if row["fields"] is None else frozenset(row["fields"]),
        parts=Parts(read_pages(pages or ""), tuple(sections or ())) if is_partial else None,
        purpose=row["purpose"],
        not_before=row["not_before"],
        expires_at=row["expires_at"],
        max_uses=row["max_uses"],
        model_use=None if model_use is None else frozenset(map(ModelUse, model_use)),
    )
