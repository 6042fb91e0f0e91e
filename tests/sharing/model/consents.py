"""What may be granted of what is personal: as its subject agreed to, and no more."""

from dataclasses import replace
from uuid import UUID

from tests.sharing.model.grants import Grants
from tests.sharing.model.parts import FOREVER, Given, Offer, Placement, is_in


class Consents(Grants):
    """A tenant in which things are about people."""

    def may_share(self, giver: str, thing: str, offer: Offer, purpose: str | None) -> bool:
        """Whether the grant would be made."""
        if self.fit(thing, offer) != offer:
            return False
        if self.owners[thing] != giver:
            parent = self.choose_parent(giver, thing, offer, purpose)
            if parent is None:
                return False
            offer = offer.under(self.grants[parent].offer)
        subject = self.whom(thing, offer.fields)
        if subject is not None:
            consent = self.choose_consent(thing, subject, offer.purpose)
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
        subject = self.whom(thing, offer.fields)
        if subject is not None:
            consent = self.choose_consent(thing, subject, offer.purpose)
            assert consent is not None
            offer = self.rest(offer, consent)
        self.grants[grant] = Given(thing, giver, receiver, offer, parent, consent)

    def whom(self, thing: str, fields: frozenset[str] | None) -> str | None:
        """Whose consent it takes to share a thing, or these fields of a record; None when that is not personal."""
        if thing not in self.records:
            return self.subjects.get(thing)
        overlaps = (
            is_in(one, other) or is_in(other, one)
            for one in self.records[thing]
            for other in fields or {""}
        )
        return self.subjects.get(thing, self.owners[thing]) if any(overlaps) else None

    def choose_consent(self, thing: str, subject: str, purpose: str | None) -> UUID | None:
        """What whom a thing is about agreed to last of what still counts, for a purpose or for any."""
        agreed = [
            one
            for one, consent in self.consents.items()
            if (consent.thing, consent.subject) == (thing, subject)
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
        if thing in self.trashed or thing in self.conversations:
            return False
        marked = self._marked(thing, subject)
        unconsented = self._derived(marked._unconsented(thing))
        return all(
            marked.subjects.get(document) in (None, marked.subjects.get(store))
            for (store, document), placement in self.placed.items()
            if thing in (store, document) and placement.grant not in unconsented
        )

    def mark(self, thing: str, subject: str | None) -> None:
        """Say whom a thing is about: what they did not agree to ends."""
        self.subjects = self._marked(thing, subject).subjects
        self.end(self._unconsented(thing))

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

    def _marked(self, thing: str, subject: str | None) -> "Consents":
        """The same tenant, were a thing about somebody or nobody."""
        others = {other: about for other, about in self.subjects.items() if other != thing}
        return replace(self, subjects=others | ({} if subject is None else {thing: subject}))

    def _unconsented(self, thing: str) -> list[UUID]:
        """The grants of a thing that need a consent, and rest on none or on another's."""
        return [
            one
            for one, given in self.grants.items()
            if given.thing == thing
            and not given.is_ended
            and (subject := self.whom(thing, given.offer.fields)) is not None
            and (given.consent is None or self.consents[given.consent].subject != subject)
        ]
