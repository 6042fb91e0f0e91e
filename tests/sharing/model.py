"""What sharing means, without a database: small enough to be read and believed, and the rest is held against it.

Things, people and groups are names; a grant is known by its id. Time is an hour that :meth:`Model.pass_hours` moves.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

EVERYONE: Final = "everyone"
"""The grantee that stands for the tenant."""
WITH_THE_STORE: Final = frozenset({"search", "read", "read_parts", "download", "comment"})
"""What may be done with another's document in a vector store; the rest is for its owner's own documents alone."""
FOREVER: Final = 10**6


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody wants to grant. None is not said.

    Attributes:
        begins: The first hour in which it counts.
        ends: The first hour in which it counts no more.
    """

    actions: frozenset[str]
    purpose: str | None = None
    begins: int | None = None
    ends: int | None = None
    max_uses: int | None = None

    def under(self, parent: "Offer") -> "Offer":
        """The same, completed from what it is shared on under."""
        return Offer(
            self.actions,
            parent.purpose if self.purpose is None else self.purpose,
            parent.begins if self.begins is None else self.begins,
            parent.ends if self.ends is None else self.ends,
            parent.max_uses if self.max_uses is None else self.max_uses,
        )

    def is_within(self, parent: "Offer") -> bool:
        """Whether it gives no more."""
        return (
            self.actions <= parent.actions
            and parent.purpose in (None, self.purpose)
            and (self.begins or 0) >= (parent.begins or 0)
            and (self.ends or FOREVER) <= (parent.ends or FOREVER)
            and (self.max_uses or FOREVER) <= (parent.max_uses or FOREVER)
        )


@dataclass(slots=True)
class Given:
    """A grant that was made."""

    thing: str
    giver: str
    receiver: str
    offer: Offer
    parent: UUID | None
    consent: UUID | None = None
    uses: int = 0
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """How a document came into a vector store: by whom, and under which grant when it is not theirs."""

    adder: str
    grant: UUID | None


@dataclass(slots=True)
class Consent:
    """What somebody was asked to agree to, and what became of it, event by event.

    Attributes:
        until: The first hour in which it counts no more.
    """

    thing: str
    subject: str
    purpose: str
    events: list[str]
    until: int = 0

    @property
    def is_given(self) -> bool:
        """Whether yes was the last word."""
        return self.events[-1] in {"given", "renewed"}


@dataclass(slots=True)
class Request:
    """What somebody asked to be granted."""

    asker: str
    thing: str
    offer: Offer
    until: int
    answer: str | None = None


@dataclass(slots=True)
class Model:
    """A tenant.

    Attributes:
        owners: Whose each thing is.
        documents: Which of the things are documents; the others are vector stores.
        outsiders: Who is not part of everyone: guests, and people of other tenants.
        members: Groups and who is in them.
        placed: Vector stores and the documents in them.
        subjects: Whom what is personal is about.
        consents: What was asked and agreed to, what was agreed to last at the end.
        requests: What was asked of whose thing, by the request's id.
    """

    owners: dict[str, str]
    documents: frozenset[str]
    outsiders: frozenset[str]
    members: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    grants: dict[UUID, Given] = field(default_factory=dict[UUID, Given])
    placed: dict[tuple[str, str], Placement] = field(
        default_factory=dict[tuple[str, str], Placement]
    )
    trashed: set[str] = field(default_factory=set[str])
    subjects: dict[str, str] = field(default_factory=dict[str, str])
    consents: dict[UUID, Consent] = field(default_factory=dict[UUID, Consent])
    requests: dict[UUID, Request] = field(default_factory=dict[UUID, Request])
    hour: int = 0

    def ways(
        self, person: str, thing: str, action: str, purpose: str | None
    ) -> set[tuple[UUID, ...]]:
        """Every way in which somebody may do something with what is another's, by the grants that it rests on."""
        found: set[tuple[UUID, ...]] = {
            (grant,) for grant in self._counting(person, thing, action, purpose)
        }
        if thing not in self.documents:
            return found
        if thing in self.trashed:
            return set()
        for (store, document), placement in self.placed.items():
            if document != thing or not self._may_pass(store, document, action):
                continue
            under: tuple[UUID, ...] = ()
            if placement.grant is not None:
                if not self._allows(placement.grant, action, purpose):
                    continue
                under = (placement.grant,)
            if self.owners[store] == person:
                found.add(under)
            else:
                found |= {
                    (grant, *under) for grant in self._counting(person, store, action, purpose)
                }
        return found

    def choose_parent(
        self, giver: str, thing: str, offer: Offer, purpose: str | None
    ) -> UUID | None:
        """The oldest grant under which this can be shared on."""
        return next(
            (
                grant
                for grant in self._counting(giver, thing, "share", purpose)
                if offer.under(self.grants[grant].offer).is_within(self.grants[grant].offer)
            ),
            None,
        )

    def may_share(self, giver: str, thing: str, offer: Offer, purpose: str | None) -> bool:
        """Whether the grant would be made."""
        if self.owners[thing] != giver:
            parent = self.choose_parent(giver, thing, offer, purpose)
            if parent is None:
                return False
            offer = offer.under(self.grants[parent].offer)
        if thing in self.subjects:
            consent = self.choose_consent(thing, offer.purpose)
            if consent is None or (offer.ends or 0) > self.consents[consent].until:
                return False
            offer = self.rest(offer, consent)
        return (offer.begins or 0) < (offer.ends or FOREVER)

    def share(
        self, grant: UUID, giver: str, thing: str, receiver: str, offer: Offer, purpose: str | None
    ) -> None:
        """Make a grant that may be made."""
        parent = consent = None
        if self.owners[thing] != giver:
            parent = self.choose_parent(giver, thing, offer, purpose)
            assert parent is not None
            offer = offer.under(self.grants[parent].offer)
        if thing in self.subjects:
            consent = self.choose_consent(thing, offer.purpose)
            assert consent is not None
            offer = self.rest(offer, consent)
        self.grants[grant] = Given(thing, giver, receiver, offer, parent, consent)

    def choose_consent(self, thing: str, purpose: str | None) -> UUID | None:
        """What whom a thing is about agreed to last of what still counts, for a purpose or for any."""
        agreed = [
            one
            for one, consent in self.consents.items()
            if (consent.thing, consent.subject) == (thing, self.subjects[thing])
            and consent.is_given
            and self.hour < consent.until
            and purpose in (None, consent.purpose)
        ]
        return agreed[-1] if agreed else None

    def rest(self, offer: Offer, consent: UUID) -> Offer:
        """The same, with what it does not say as it was agreed to."""
        agreed = self.consents[consent]
        return replace(offer, purpose=agreed.purpose, ends=offer.ends or agreed.until)

    def may_mark(self, thing: str, subject: str | None) -> bool:
        """Whether a thing may be about somebody: not when a store would show what is about another."""
        if thing in self.trashed:
            return False
        subjects = {**self.subjects, thing: subject}
        unconsented = self._derived(self._unconsented(thing, subject))
        return all(
            subjects.get(document) in (None, subjects.get(store))
            for (store, document), placement in self.placed.items()
            if thing in (store, document) and placement.grant not in unconsented
        )

    def mark(self, thing: str, subject: str | None) -> None:
        """Say whom a thing is about: what they did not agree to ends."""
        self.end(self._unconsented(thing, subject))
        self.subjects.pop(thing, None)
        if subject is not None:
            self.subjects[thing] = subject

    def answer(self, consent: UUID, event: str, validity: int) -> None:
        """Do what may be done with a consent."""
        agreed = self.consents[consent]
        agreed.events.append(event)
        if agreed.is_given:
            agreed.until = self.hour + validity
            self.consents[consent] = self.consents.pop(consent)
        if event == "withdrawn":
            self.end([one for one, given in self.grants.items() if given.consent == consent])

    def may_answer(self, person: str, consent: UUID, event: str) -> bool:
        """Whether that is the subject's to say now."""
        agreed = self.consents[consent]
        follows = {
            "asked": {"given", "refused"},
            "given": {"renewed", "withdrawn"},
            "renewed": {"renewed", "withdrawn"},
            "expired": {"renewed"},
        }
        return person == agreed.subject and event in follows.get(agreed.events[-1], set())

    def expire(self) -> None:
        """What a worker does about consents and requests whose time is over."""
        for agreed in self.consents.values():
            if agreed.is_given and agreed.until <= self.hour:
                agreed.events.append("expired")
        for asked in self.requests.values():
            if asked.answer is None and asked.until <= self.hour:
                asked.answer = "expired"

    def ask_for_access(self, request: UUID, asked: Request) -> None:
        """Keep a question, in the place of what the same person asked about the same thing."""
        for other, before in list(self.requests.items()):
            same = (before.asker, before.thing) == (asked.asker, asked.thing)
            if same and before.answer is None:
                del self.requests[other]
        if asked.thing not in self.trashed:
            self.requests[request] = asked

    def may_answer_request(self, person: str, request: UUID) -> bool:
        """Whether an answer is theirs to give, and there is none."""
        asked = self.requests[request]
        is_open = asked.answer is None and self.hour < asked.until
        return is_open and self.owners[asked.thing] == person and asked.thing not in self.trashed

    def may_approve(self, person: str, request: UUID, offer: Offer) -> bool:
        """Whether that may be granted: what was asked for, or less."""
        asked = self.requests[request]
        return (
            self.may_answer_request(person, request)
            and offer.under(asked.offer).is_within(asked.offer)
            and self.may_share(person, asked.thing, offer.under(asked.offer), None)
        )

    def may_place(self, adder: str, store: str, document: str, purpose: str | None) -> bool:
        """Whether somebody may put a document into a store that they may fill."""
        if self.subjects.get(document) not in (None, self.subjects.get(store)):
            return False
        is_owner = self.owners[document] == adder
        return is_owner or bool(self._counting(adder, document, "share", purpose))

    def place(self, adder: str, store: str, document: str, purpose: str | None) -> None:
        """Put a document, which may be put there, into a store."""
        under = None
        if self.owners[document] != adder:
            under = self._counting(adder, document, "share", purpose)[0]
        self.placed[store, document] = Placement(adder, under)

    def may_revoke(self, person: str, grant: UUID) -> bool:
        """Whether it is theirs to end: they own the thing, or gave the grant or one that it derives from."""
        givers = {self.grants[one].giver for one in self.chain(grant)}
        return person in givers | {self.owners[self.grants[grant].thing]}

    def end(self, grants: Iterable[UUID]) -> None:
        """End grants and whatever derives from them."""
        for grant in self._derived(grants):
            self.grants[grant].is_ended = True
        for place, placement in list(self.placed.items()):
            if placement.grant is not None and self.grants[placement.grant].is_ended:
                del self.placed[place]

    def use(self, way: tuple[UUID, ...]) -> None:
        """Count one use of what a way rests on, and of what that derives from."""
        counted = [
            one
            for one in set[UUID]().union(*map(self.chain, way))
            if self.grants[one].offer.max_uses is not None
        ]
        for one in counted:
            self.grants[one].uses += 1
        self.end(
            [one for one in counted if self.grants[one].uses == self.grants[one].offer.max_uses]
        )

    def leave(self, group: str, person: str) -> None:
        """Take somebody out of a group, and with them what they did as its member."""
        self.members.remove((group, person))
        of_group = {one for one, given in self.grants.items() if given.receiver == group}
        self.end(
            one
            for one, given in self.grants.items()
            if given.parent in of_group and given.giver == person
        )
        for place, placement in list(self.placed.items()):
            if placement.grant in of_group and placement.adder == person:
                del self.placed[place]

    def pass_hours(self, hours: int) -> None:
        """Let time pass."""
        self.hour += hours

    def chain(self, grant: UUID) -> set[UUID]:
        """A grant and those that it derives from."""
        chain: set[UUID] = set()
        one: UUID | None = grant
        while one is not None:
            chain.add(one)
            one = self.grants[one].parent
        return chain

    def _counting(self, person: str, thing: str, action: str, purpose: str | None) -> list[UUID]:
        """Somebody's grants of a thing that let them do something now, the oldest first."""
        return [
            grant
            for grant, given in self.grants.items()
            if given.thing == thing
            and self._is_for(given.receiver, person)
            and self._allows(grant, action, purpose)
        ]

    def _unconsented(self, thing: str, subject: str | None) -> list[UUID]:
        """What would rest on nobody's consent, or on another's, were a thing about somebody."""
        return [
            one
            for one, given in self.grants.items()
            if given.thing == thing
            and not given.is_ended
            and subject is not None
            and (given.consent is None or self.consents[given.consent].subject != subject)
        ]

    def _derived(self, grants: Iterable[UUID]) -> set[UUID]:
        roots = set(grants)
        return {grant for grant in self.grants if roots & self.chain(grant)}

    def _is_for(self, receiver: str, person: str) -> bool:
        if receiver == EVERYONE:
            return person not in self.outsiders
        return receiver == person or (receiver, person) in self.members

    def _allows(self, grant: UUID, action: str, purpose: str | None) -> bool:
        given = self.grants[grant]
        offer = given.offer
        return (
            not given.is_ended
            and action in offer.actions
            and (offer.begins or 0) <= self.hour < (offer.ends or FOREVER)
            and offer.purpose in (None, purpose)
        )

    def _may_pass(self, store: str, document: str, action: str) -> bool:
        return action in WITH_THE_STORE or self.owners[store] == self.owners[document]
