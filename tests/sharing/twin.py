"""A tenant twice: in the database, worked on by the services, and in the model. What one allows the other has to."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from tests.conftest import Member, scope_maker
from tests.sharing.conftest import Office, open_office
from tests.sharing.model import EVERYONE, Given, Model, Offer, Placement
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.sharing.errors import GrantEndedError, WideningError
from undercroft.sharing.models import (
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    Terms,
    Way,
)
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.repository import GrantRepository
from undercroft.sharing.uses import GrantUses

PEOPLE: Final = ("ann", "bob", "cem", "dee")
"""Dee is a guest."""
STRANGER: Final = "eve"
"""Of another tenant."""
DOCUMENTS: Final = ("plan", "bill")
STORES: Final = ("shelf", "drawer")
"""Ann's and Bob's."""
GROUPS: Final = ("board", "staff")
HOUR: Final = timedelta(hours=1)
PURPOSES: Final = (None, "audit")
ACTIONS: Final = ("search", "read", "download", "comment", "write", "share")
_WAYS: Final = (
    "SELECT CASE WHEN q.is_document THEN ways_to_document(q.id, q.action) ELSE ways_to(q.id, q.action) END AS ways"
    " FROM unnest($1::uuid[], $2::text[], $3::boolean[]) WITH ORDINALITY AS q (id, action, is_document, place)"
    " ORDER BY q.place"
)

Ways = dict[tuple[str, str], set[tuple[UUID, ...]]]
"""The ways of somebody, by thing and action."""


@dataclass(slots=True)
class Twin:
    """Both, and the instant that stands for the model's hour 0."""

    office: Office
    model: Model
    people: dict[str, Member]
    things: dict[str, Resource]
    groups: dict[str, UUID]
    epoch: datetime

    # What people do ---------------------------------------------------------------------------------------------------

    async def share(
        self, giver: str, thing: str, receiver: str, offer: Offer, purpose: str | None = None
    ) -> UUID | None:
        """Grant something, if the model lets them; None when neither does."""
        offer = self.complete(giver, thing, offer)
        is_allowed = self.model.may_share(giver, thing, offer, purpose)
        try:
            grant = await self.grant(giver, thing, receiver, offer, purpose)
        except (NotFoundError, WideningError, GrantEndedError, InvalidRequestError):
            assert not is_allowed, f"{giver} may share {thing} with {receiver}: {offer}"
            return None
        assert is_allowed, f"{giver} must not share {thing} with {receiver}: {offer}"
        self.model.share(grant, giver, thing, receiver, offer, purpose)
        return grant

    async def revoke(self, person: str, grant: UUID) -> None:
        """End a grant, if it is theirs to end."""
        is_allowed = self.model.may_revoke(person, grant)
        try:
            await self.office.grants.revoke(self.people[person], grant)
        except NotFoundError:
            assert not is_allowed, f"{person} may revoke {grant}"
            return
        assert is_allowed, f"{person} must not revoke {grant}"
        self.model.end([grant])

    async def use(self, person: str, document: str, purpose: str | None = None) -> None:
        """Download somebody else's document."""
        way = await self.download(person, document, purpose)
        if way is not None:
            self.model.use(way)

    async def place(
        self, person: str, store: str, document: str, purpose: str | None = None
    ) -> None:
        """Put a document into a store that it is not in, and that is known to be theirs to fill."""
        may = self.model.may_place(person, document, purpose)
        placed = await self.put(person, store, document, purpose)
        assert placed == may, f"{person} places {document} in {store}"
        if placed:
            self.model.place(person, store, document, purpose)

    async def join(self, group: str, person: str) -> None:
        """Bring somebody into a group that they are not in."""
        await self.office.execute(
            self.people["ann"],
            "INSERT INTO group_members (tenant_id, group_id, user_id) VALUES ($1, $2, $3)",
            self.office.ann.tenant_id,
            self.groups[group],
            self.people[person].principal_id,
        )
        self.model.members.add((group, person))

    async def leave(self, group: str, person: str) -> None:
        """Take somebody out of a group that they are in."""
        await self.expel(group, person)
        self.model.leave(group, person)

    async def pass_hour(self) -> None:
        """Time is what grants say of it: instead of waiting, each begins and ends an hour earlier."""
        await self.office.execute(
            self.office.ann,
            "UPDATE grants SET not_before = not_before - $1::interval, expires_at = expires_at - $1::interval",
            HOUR,
        )
        self.model.pass_hour()

    async def trash(self, document: str) -> None:
        """Move a document to the trash, or back."""
        is_trashed = document not in self.model.trashed
        await self.office.execute(
            self.people[self.model.owners[document]],
            "UPDATE documents SET deleted_at = CASE WHEN $2 THEN now() END,"
            " purge_at = CASE WHEN $2 THEN now() + interval '1 day' END WHERE id = $1",
            self.things[document].id,
            is_trashed,
        )
        self.model.trashed ^= {document}

    # In the database alone --------------------------------------------------------------------------------------------

    async def grant(
        self, giver: str, thing: str, receiver: str, offer: Offer, purpose: str | None
    ) -> UUID:
        """Have the service make a grant."""
        scope = replace(self.people[giver], purpose=purpose)
        terms = Terms(
            frozenset(map(GrantAction, offer.actions)),
            purpose=offer.purpose,
            not_before=self._instant(offer.begins),
            expires_at=self._instant(offer.ends),
            max_uses=offer.max_uses,
        )
        resource, grantee = self.things[thing], self._grantee(receiver)
        return (await self.office.grants.create(scope, resource, grantee, terms)).id

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
        return _ids(way)

    async def put(self, person: str, store: str, document: str, purpose: str | None) -> bool:
        """Put a document into a store, as the vault does: under a grant to share it when it is another's."""
        scope = replace(self.people[person], purpose=purpose)
        grants = GrantRepository()
        async with self.office.database.transaction(scope) as transaction:
            under: UUID | None = None
            if self.model.owners[document] != person:
                held = await grants.list_for_sharing(transaction, self.things[document].id)
                if not held or not await grants.hold_chain(transaction, held[0].id):
                    return False
                under = held[0].id
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
            question: {_ids(way) for way in read_ways(row["ways"])}
            for question, row in zip(asked, rows, strict=True)
        }

    # Whether they agree -----------------------------------------------------------------------------------------------

    async def check(self, people: Collection[str] = (*PEOPLE, STRANGER)) -> None:
        """Everything that anybody may do, for each purpose; and what is kept of grants and of stores."""
        for person in people:
            for purpose in PURPOSES:
                for (thing, action), ways in (await self.ways(person, purpose)).items():
                    expected = self.model.ways(person, thing, action, purpose)
                    assert ways == expected, (
                        f"{person} {action} {thing} for {purpose}: {ways} is not {expected}"
                    )
        kept = {one: (given.is_ended, given.uses) for one, given in self.model.grants.items()}
        assert await self.read_grants() == kept
        assert await self.read_placed() == {
            place: placement.grant for place, placement in self.model.placed.items()
        }

    async def read_grants(self) -> dict[UUID, tuple[bool, int]]:
        """Which grants have ended, and how often each was used."""
        async with self.office.database.transaction(self.office.ann) as transaction:
            rows = await transaction.fetch("SELECT id, ended_at, uses FROM grants")
        return {row["id"]: (row["ended_at"] is not None, row["uses"]) for row in rows}

    async def read_placed(self) -> dict[tuple[str, str], UUID | None]:
        """Which documents are in which stores, and under which grant."""
        names = {resource.id: name for name, resource in self.things.items()}
        async with self.office.database.transaction(self.office.ann) as transaction:
            rows = await transaction.fetch(
                "SELECT collection_id, document_id, grant_id FROM collection_documents"
            )
        return {
            (names[row["collection_id"]], names[row["document_id"]]): row["grant_id"]
            for row in rows
        }

    async def read_model(self) -> Model:
        """The model that the rows describe."""
        names = {resource.id: name for name, resource in self.things.items()}
        names |= {group: name for name, group in self.groups.items()}
        names |= {member.principal_id: name for name, member in self.people.items()}
        names[self.office.ann.tenant_id] = EVERYONE
        model = Model(self.model.owners, self.model.documents, self.model.outsiders)
        async with self.office.database.transaction(self.office.ann) as transaction:
            grants = await transaction.fetch(
                "SELECT id, resource_id, grantor_id, grantee_id, actions, purpose, not_before, expires_at, max_uses,"
                " parent_id, uses, ended_at FROM grants ORDER BY id"
            )
            members = await transaction.fetch("SELECT group_id, user_id FROM group_members")
            placed = await transaction.fetch(
                "SELECT collection_id, document_id, added_by, grant_id FROM collection_documents"
            )
        for row in grants:
            model.grants[row["id"]] = Given(
                names[row["resource_id"]],
                names[row["grantor_id"]],
                names[row["grantee_id"]],
                Offer(
                    frozenset(row["actions"]),
                    row["purpose"],
                    self._hour(row["not_before"]),
                    self._hour(row["expires_at"]),
                    row["max_uses"],
                ),
                row["parent_id"],
                row["uses"],
                row["ended_at"] is not None,
            )
        model.members = {(names[row["group_id"]], names[row["user_id"]]) for row in members}
        model.placed = {
            (names[row["collection_id"]], names[row["document_id"]]): Placement(
                names[row["added_by"]], row["grant_id"]
            )
            for row in placed
        }
        model.trashed, model.hour = self.model.trashed, self.model.hour
        return model

    def complete(self, giver: str, thing: str, offer: Offer) -> Offer:
        """An owner's grant begins with this hour unless it says when, and not within it: re-shares compare to that."""
        if offer.begins is None and self.model.owners[thing] == giver:
            return replace(offer, begins=self.model.hour)
        return offer

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


async def open_twin(database: Database) -> Twin:
    """A new tenant: two documents and a store of Ann's, a store of Bob's, two empty groups, and nothing shared."""
    epoch = datetime.now(UTC)
    make_scope = scope_maker(database)
    office = await open_office(database, make_scope)
    everybody = (office.ann, office.bob, office.cem, office.dee, await make_scope())
    names: list[str] = [*PEOPLE, STRANGER]
    people: dict[str, Member] = dict(zip(names, everybody, strict=True))
    guest = office.dee
    await office.execute(guest, "UPDATE users SET kind = 'guest' WHERE id = $1", guest.principal_id)
    things = {name: await office.put_document(office.ann) for name in DOCUMENTS}
    things["shelf"] = await office.put_collection(office.ann)
    things["drawer"] = await office.put_collection(office.bob)
    groups = {name: await office.make_group() for name in GROUPS}
    owners = {"plan": "ann", "bill": "ann", "shelf": "ann", "drawer": "bob"}
    model = Model(owners, frozenset(DOCUMENTS), frozenset({"dee", STRANGER}))
    return Twin(office, model, people, things, groups, epoch)


def _ids(way: Way) -> tuple[UUID, ...]:
    return tuple(grant.id for grant in way.grants)
