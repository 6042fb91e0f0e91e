"""A tenant twice: in the database, worked on by the services, and in the model. What one allows the other has to."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from asyncpg import RestrictViolationError

from tests.conftest import Member, scope_maker
from tests.sharing.conftest import Office, open_office
from tests.sharing.consents.conftest import CONTENT
from tests.sharing.model import EVERYONE, Consent, Given, Model, Offer, Placement, Request
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.sharing.consents.errors import (
    ConsentStateError,
    MixedSubjectsError,
    NotPersonalError,
)
from undercroft.sharing.consents.models import NoticeTerms
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.consents.subjects import DataSubjects
from undercroft.sharing.errors import ConsentRequiredError, GrantEndedError, WideningError
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
from undercroft.sharing.requests.errors import RequestClosedError, WiderThanAskedError
from undercroft.sharing.requests.models import Wish
from undercroft.sharing.requests.service import AccessRequests
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
CONSENT_PURPOSES: Final = ("audit", "care")
VALIDITY: Final = 24
"""Hours for which a consent counts."""
ANSWER_HOURS: Final = 30 * 24
"""After which a request is over."""
TERMS: Final = NoticeTerms(validity_days=1, retention_days=None, erases=False)
REFUSALS: Final = (
    NotFoundError,
    WideningError,
    GrantEndedError,
    InvalidRequestError,
    ConsentRequiredError,
)
ACTIONS: Final = ("search", "read", "download", "comment", "write", "share")
_TIMES: Final = (
    "UPDATE grants SET not_before = not_before - $1::interval, expires_at = expires_at - $1::interval",
    "UPDATE consents SET given_at = given_at - $1::interval, valid_until = valid_until - $1::interval",
    "UPDATE access_requests SET created_at = created_at - $1::interval, expires_at = expires_at - $1::interval",
)
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
    consents: ConsentService
    subjects: DataSubjects
    requests: AccessRequests
    notices: dict[tuple[str, str], UUID]
    """By whose and for which purpose."""

    # What people do ---------------------------------------------------------------------------------------------------

    async def share(
        self, giver: str, thing: str, receiver: str, offer: Offer, purpose: str | None = None
    ) -> UUID | None:
        """Grant something, if the model lets them; None when neither does."""
        offer = self.complete(giver, thing, offer)
        is_allowed = self.model.may_share(giver, thing, offer, purpose)
        try:
            grant = await self.grant(giver, thing, receiver, offer, purpose)
        except REFUSALS:
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
        may = self.model.may_place(person, store, document, purpose)
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

    async def pass_hours(self, hours: int = 1) -> None:
        """Time is what the rows say of it: instead of waiting, each begins and ends earlier."""
        for statement in _TIMES:
            await self.office.execute(self.office.ann, statement, hours * HOUR)
        self.model.pass_hours(hours)

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

    async def mark(self, thing: str, subject: str | None) -> bool:
        """Its owner says whom a thing is about, or that it is about nobody."""
        may = self.model.may_mark(thing, subject)
        owner, resource = self.people[self.model.owners[thing]], self.things[thing]
        try:
            if subject is None:
                await self.subjects.unmark(owner, resource)
            else:
                await self.subjects.mark(owner, resource, self.people[subject].email)
        except (MixedSubjectsError, NotFoundError):
            assert not may, f"{thing} may be about {subject}"
            return False
        assert may, f"{thing} must not be about {subject}"
        self.model.mark(thing, subject)
        return True

    async def ask_consent(self, thing: str, purpose: str) -> UUID | None:
        """Its owner asks whom a thing is about."""
        may = thing in self.model.subjects and thing not in self.model.trashed
        owner = self.model.owners[thing]
        try:
            asked = await self.consents.ask(
                self.people[owner], self.notices[owner, purpose], self.things[thing]
            )
        except (NotPersonalError, NotFoundError):
            assert not may, f"{owner} may ask for consent to {thing}"
            return None
        assert may, f"{owner} must not ask for consent to {thing}"
        consent = Consent(thing, self.model.subjects[thing], purpose, ["asked"])
        self.model.consents[asked.consent.id] = consent
        return asked.consent.id

    async def answer(self, person: str, consent: UUID, event: str) -> None:
        """Somebody, rightly or not, gives, refuses, renews or withdraws a consent."""
        may = self.model.may_answer(person, consent, event)
        try:
            await self.say(person, consent, event)
        except (NotFoundError, ConsentStateError):
            assert not may, f"{person} may have {consent} {event}"
            return
        assert may, f"{person} must not have {consent} {event}"
        self.model.answer(consent, event, VALIDITY)

    async def agree(self, thing: str, subject: str, purpose: str) -> UUID | None:
        """Mark a thing, ask whom it is about, and have them agree."""
        if self.model.subjects.get(thing) != subject and not await self.mark(thing, subject):
            return None
        consent = await self.ask_consent(thing, purpose)
        if consent is not None:
            await self.answer(subject, consent, "given")
        return consent

    async def expire(self) -> None:
        """The worker's round."""
        await self.consents.expire()
        await self.requests.expire()
        self.model.expire()

    async def ask_access(self, person: str, thing: str, offer: Offer) -> UUID | None:
        """Ask for a grant of another's thing, which says nothing of time: what is sealed, time does not move."""
        wish = Wish(self._terms(replace(offer, begins=None, ends=None)), None)
        asked = Request(
            person, thing, replace(offer, begins=None, ends=None), self.model.hour + ANSWER_HOURS
        )
        request = await self.requests.ask(self.people[person], self.things[thing], wish)
        self.model.ask_for_access(request, asked)
        return request if request in self.model.requests else None

    async def approve(self, person: str, request: UUID, offer: Offer) -> UUID | None:
        """Grant what was asked for or another thing, rightly or not."""
        asked = self.model.requests[request]
        offer = self.complete(self.model.owners[asked.thing], asked.thing, offer)
        may = self.model.may_approve(person, request, offer)
        try:
            approved = await self.requests.approve(self.people[person], request, self._terms(offer))
        except (*REFUSALS, RequestClosedError, WiderThanAskedError):
            assert not may, f"{person} may approve {request} with {offer}"
            return None
        assert may, f"{person} must not approve {request} with {offer}"
        assert approved.grant_id is not None
        asked.answer = "approved"
        granted = offer.under(asked.offer)
        self.model.share(approved.grant_id, person, asked.thing, asked.asker, granted, None)
        return approved.grant_id

    async def deny(self, person: str, request: UUID) -> None:
        """Say no, rightly or not."""
        may = self.model.may_answer_request(person, request)
        try:
            await self.requests.deny(self.people[person], request)
        except (NotFoundError, RequestClosedError):
            assert not may, f"{person} may deny {request}"
            return
        assert may, f"{person} must not deny {request}"
        self.model.requests[request].answer = "denied"

    # In the database alone --------------------------------------------------------------------------------------------

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
        return _ids(way)

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

        await self._check_consents()
        await self._check_requests()

    async def _check_consents(self) -> None:
        async with self.office.database.transaction(self.office.ann) as transaction:
            rows = await transaction.fetch(
                "SELECT e.consent_id, array_agg(e.event ORDER BY e.number) AS events"
                " FROM consent_events AS e GROUP BY e.consent_id"
            )
            rest = await transaction.fetch("SELECT id, consent_id FROM grants")
        kept = {one: consent.events for one, consent in self.model.consents.items()}
        assert {row["consent_id"]: row["events"] for row in rows} == kept
        resting = {one: given.consent for one, given in self.model.grants.items()}
        assert {row["id"]: row["consent_id"] for row in rest} == resting

    async def _check_requests(self) -> None:
        """Its owner sees every request, and who asked those that were answered."""
        for person in PEOPLE:
            for is_asked in (True, False):
                seen = await self.requests.list_requests(
                    self.people[person], asked=is_asked, limit=100
                )
                expected = {
                    one: asked.answer or ("pending" if self.model.hour < asked.until else "expired")
                    for one, asked in self.model.requests.items()
                    if person == (asked.asker if is_asked else self.model.owners[asked.thing])
                    and (asked.answer in {"approved", "denied"} or not is_asked)
                    and asked.thing not in self.model.trashed
                }
                assert {one.id: one.state.value for one in seen} == expected

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
                " parent_id, consent_id, uses, ended_at FROM grants ORDER BY id"
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
                row["consent_id"],
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
        await self._read_agreements(model, names)
        return model

    async def _read_agreements(self, model: Model, names: dict[UUID, str]) -> None:
        """Whom things are about, what was agreed to, and what was asked; of that, what the model knows already."""
        async with self.office.database.transaction(self.office.ann) as transaction:
            about = await transaction.fetch(
                "SELECT id, data_subject_id FROM documents WHERE data_subject_id IS NOT NULL"
                " UNION ALL SELECT id, data_subject_id FROM collections WHERE data_subject_id IS NOT NULL"
            )
            consents = await transaction.fetch(
                "SELECT c.id, c.resource_id, c.subject_id, c.purpose, c.valid_until,"
                " array_agg(e.event ORDER BY e.number) AS events"
                " FROM consents AS c JOIN consent_events AS e ON e.consent_id = c.id"
                " GROUP BY c.id ORDER BY c.valid_until NULLS FIRST, c.id"
            )
            requests = await transaction.fetch(
                "SELECT id, asker_id, resource_id, expires_at, state FROM access_requests ORDER BY id"
            )
        model.subjects = {names[row["id"]]: names[row["data_subject_id"]] for row in about}
        for row in consents:
            model.consents[row["id"]] = Consent(
                names[row["resource_id"]],
                names[row["subject_id"]],
                row["purpose"],
                row["events"],
                self._hour(row["valid_until"]) or 0,
            )
        for row in requests:
            known = self.model.requests.get(row["id"])
            model.requests[row["id"]] = Request(
                names[row["asker_id"]],
                names[row["resource_id"]],
                Offer(frozenset({"read"})) if known is None else known.offer,
                self._hour(row["expires_at"]) or 0,
                None if row["state"] == "pending" else row["state"],
            )

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


async def open_twin(database: Database, folder: Path) -> Twin:
    """A new tenant: two documents and a store of Ann's, a store of Bob's, two empty groups, and nothing shared."""
    epoch = datetime.now(UTC)
    make_scope = scope_maker(database)
    office = await open_office(database, folder, make_scope)
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
    ledger, keys, ids = office.ledger, office.keys, IdSource()
    notices = NoticeService(database, keys, ledger, ids)
    published = {
        (owner, purpose): (await notices.create(people[owner], purpose, CONTENT, TERMS)).id
        for owner in sorted(set(owners.values()))
        for purpose in CONSENT_PURPOSES
    }
    return Twin(
        office,
        model,
        people,
        things,
        groups,
        epoch,
        ConsentService(database, notices, office.grants, ledger, ids),
        DataSubjects(database, office.grants, ledger),
        AccessRequests(database, office.grants, keys, ledger, ids, SystemClock()),
        published,
    )


def _ids(way: Way) -> tuple[UUID, ...]:
    return tuple(grant.id for grant in way.grants)
