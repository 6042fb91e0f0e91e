"""What sharing means, without a database: small enough to be read and believed, and the rest is held against it.

Things, people and groups are names; a grant is known by its id. Time is an hour that :meth:`Grants.pass_hours` moves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from tests.sharing.model.parts import FOREVER, Consent, Given, Offer, Placement, Request

EVERYONE: Final = "everyone"
"""The grantee that stands for the tenant."""
WITH_THE_STORE: Final = frozenset({"search", "read", "read_parts", "download", "comment"})
"""What may be done with another's document in a vector store; the rest is for its owner's own documents alone."""
WITH_CONVERSATIONS: Final = frozenset({"read", "write", "share"})
"""All that may be done with a conversation."""


@dataclass(slots=True)
class Grants:
    """A tenant, and what its grants let anybody do.

    Attributes:
        owners: Whose each thing is.
        documents: Which of the things are documents; those of no other kind are vector stores.
        outsiders: Who is not part of everyone: guests, and people of other tenants.
        records: Which of the things are records, and which of their fields are personal.
        conversations: Which of the things are conversations, and which document each was made from.
        members: Groups and who is in them.
        placed: Vector stores and the documents in them.
        subjects: Whom what is personal is about.
        consents: What was asked and agreed to, what was agreed to last at the end.
        requests: What was asked of whose thing, by the request's id.
    """

    owners: dict[str, str]
    documents: frozenset[str]
    outsiders: frozenset[str]
    records: Mapping[str, frozenset[str]]
    conversations: Mapping[str, str]
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

    def ways_to_read(self, person: str, thing: str, purpose: str | None) -> set[tuple[UUID, ...]]:
        """As :meth:`ways`, and of what is theirs one that rests on no grant."""
        return {()} if self.owners[thing] == person else self.ways(person, thing, "read", purpose)

    def shows(self, ways: Iterable[tuple[UUID, ...]], field: str) -> bool:
        """Whether one of these ways to a record lets a field through: all that it rests on has to."""
        return any(all(self.grants[one].offer.shows(field) for one in way) for way in ways)

    def may_see_source(self, person: str, conversation: str, purpose: str | None) -> bool:
        """Whether somebody may see what a conversation was made from, and so what was made from it."""
        document = self.conversations[conversation]
        return document not in self.trashed and (
            self.owners[document] == person
            or any(self.ways(person, document, action, purpose) for action in ("search", "read"))
        )

    def fit(self, thing: str, offer: Offer) -> Offer:
        """What of an offer makes sense for such a thing."""
        if thing in self.conversations:
            actions = offer.actions & WITH_CONVERSATIONS
            return replace(offer, actions=actions, max_uses=None, fields=None)
        if thing in self.records:
            return replace(offer, actions=offer.actions - {"download"}, max_uses=None)
        return replace(offer, fields=None)

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
