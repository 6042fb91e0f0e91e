"""A tenant in the database, worked on by the services alone: what they do there, no model is told."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import RestrictViolationError

from tests.conftest import Member
from tests.sharing.conftest import Office
from tests.sharing.model.grants import EVERYONE
from tests.sharing.model.parts import Offer
from tests.sharing.model.requests import Model
from tests.sharing.twin.cast import ACTIONS, HOUR
from undercroft.chat.conversations.service import ConversationService
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.consents.subjects import DataSubjects
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import GrantAction, Grantee, GranteeKind, Resource, Terms, Way
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.repository import GrantRepository
from undercroft.sharing.requests.service import AccessRequests
from undercroft.sharing.uses import GrantUses
from undercroft.vault.records.service import RecordService

_WAYS: Final = (
    "SELECT CASE WHEN q.is_document THEN ways_to_document(q.id, q.action) ELSE ways_to(q.id, q.action) END AS ways"
    " FROM unnest($1::uuid[], $2::text[], $3::boolean[]) WITH ORDINALITY AS q (id, action, is_document, place)"
    " ORDER BY q.place"
)

Ways = dict[tuple[str, str], set[tuple[UUID, ...]]]
"""The ways of somebody, by thing and action."""


@dataclass(slots=True)
class Served:
    """A tenant and its model, and the instant that stands for the model's hour 0."""

    office: Office
    model: Model
    people: dict[str, Member]
    things: dict[str, Resource]
    groups: dict[str, UUID]
    epoch: datetime
    consents: ConsentService
    subjects: DataSubjects
    requests: AccessRequests
    records: RecordService
    conversations: ConversationService
    notices: dict[tuple[str, str], UUID]
    """By whose and for which purpose."""

    async def grant(
        self, giver: str, thing: str, receiver: str, offer: Offer, purpose: str | None
    ) -> UUID:
        """Have the service make a grant."""
        scope = replace(self.people[giver], purpose=purpose)
        terms = self._terms(offer)
        resource, grantee = self.things[thing], self._grantee(receiver)
        return (await self.office.grants.create(scope, resource, grantee, terms)).id

    async def say(self, person: str, consent: UUID, event: str) -> None:
        """Have the service do it."""
        scope = self.people[person]
        match event:
            case "given":
                await self.consents.give(scope, consent, 1)
            case "renewed":
                await self.consents.renew(scope, consent, 1)
            case "refused":
                await self.consents.refuse(scope, consent)
            case _:
                await self.consents.withdraw(scope, consent)

    async def download(
        self, person: str, document: str, purpose: str | None
    ) -> tuple[UUID, ...] | None:
        """Count a use of the way that is there; None without one, or when its last use went to another just now."""
        scope = replace(self.people[person], purpose=purpose)
        ways = await self.office.ways(scope, self.things[document], GrantAction.DOWNLOAD)
        if not ways:
            return None
        way = choose_way(ways)
        try:
            async with self.office.database.transaction(scope) as transaction:
                await GrantUses().count(transaction, way)
        except GrantEndedError:
            return None
        return grants_of(way)

    async def put(self, person: str, store: str, document: str, purpose: str | None) -> bool:
        """Put a document into a store, as the vault does: under a grant to share it when it is another's."""
        scope = replace(self.people[person], purpose=purpose)
        try:
            async with self.office.database.transaction(scope) as transaction:
                return await self._put_under(transaction, scope, store, document)
        except RestrictViolationError:
            return False  # it is about somebody whom the store is not about

    async def _put_under(
        self, transaction: Transaction, scope: Scope, store: str, document: str
    ) -> bool:
        under: UUID | None = None
        if self.people[self.model.owners[document]].principal_id != scope.principal_id:
            grants = GrantRepository()
            held = grants.list_for_sharing(transaction, self.things[document].id)
            oldest = await anext(held, None)
            if oldest is None or not await grants.hold_chain(transaction, oldest.id):
                return False
            under = oldest.id
        await transaction.execute(
            "INSERT INTO collection_documents (tenant_id, collection_id, document_id, added_by, grant_id)"
            " VALUES ($1, $2, $3, $4, $5)",
            scope.tenant_id,
            self.things[store].id,
            self.things[document].id,
            scope.principal_id,
            under,
        )
        return True

    async def expel(self, group: str, person: str) -> None:
        """Delete the row that has somebody in a group."""
        await self.office.execute(
            self.people["ann"],
            "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2",
            self.groups[group],
            self.people[person].principal_id,
        )

    async def ways(self, person: str, purpose: str | None) -> Ways:
        """What the database lets somebody do with what is not theirs, all in one statement."""
        asked = [
            (thing, action)
            for thing in self.things
            for action in ACTIONS
            if self.model.owners[thing] != person
        ]
        async with self.office.database.transaction(
            replace(self.people[person], purpose=purpose)
        ) as transaction:
            rows = await transaction.fetch(
                _WAYS,
                [self.things[thing].id for thing, _ in asked],
                [action for _, action in asked],
                [thing in self.model.documents for thing, _ in asked],
            )
        return {
            question: {grants_of(way) for way in read_ways(row["ways"])}
            for question, row in zip(asked, rows, strict=True)
        }

    def complete(self, giver: str, thing: str, offer: Offer) -> Offer:
        """An owner's grant begins with this hour unless it says when, and not within it: re-shares compare to that."""
        if offer.begins is None and self.model.owners[thing] == giver:
            return replace(offer, begins=self.model.hour)
        return offer

    def _terms(self, offer: Offer) -> Terms:
        return Terms(
            frozenset(map(GrantAction, offer.actions)),
            purpose=offer.purpose,
            not_before=self._instant(offer.begins),
            expires_at=self._instant(offer.ends),
            max_uses=offer.max_uses,
            fields=offer.fields,
        )

    def _instant(self, hour: int | None) -> datetime | None:
        return None if hour is None else self.epoch + (hour - self.model.hour) * HOUR

    def _hour(self, instant: datetime | None) -> int | None:
        return None if instant is None else self.model.hour + (instant - self.epoch) // HOUR

    def _grantee(self, receiver: str) -> Grantee:
        if receiver == EVERYONE:
            return Grantee(GranteeKind.TENANT, self.office.ann.tenant_id)
        if receiver in self.groups:
            return Grantee(GranteeKind.GROUP, self.groups[receiver])
        return Grantee(GranteeKind.USER, self.people[receiver].principal_id)


def grants_of(way: Way) -> tuple[UUID, ...]:
    """What a way rests on."""
    return tuple(grant.id for grant in way.grants)
