"""What people agree to, ask for and answer, in both."""

from dataclasses import replace
from uuid import UUID

from tests.sharing.model.parts import Consent, Offer, Request
from tests.sharing.twin.cast import ANSWER_HOURS, VALIDITY
from tests.sharing.twin.services import Served
from tests.sharing.twin.sharing import REFUSALS
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.sharing.consents.errors import (
    ConsentStateError,
    MixedSubjectsError,
    NotPersonalError,
)
from undercroft.sharing.requests.errors import RequestClosedError, WiderThanAskedError
from undercroft.sharing.requests.models import Wish


class Agreed(Served):
    """A tenant whose people are asked."""

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
        subject = self.model.whom(thing, None)
        may = subject is not None and thing not in self.model.trashed
        owner = self.model.owners[thing]
        try:
            asked = await self.consents.ask(
                self.people[owner], self.notices[owner, purpose], self.things[thing]
            )
        except (NotPersonalError, NotFoundError):
            assert not may, f"{owner} may ask for consent to {thing}"
            return None
        assert may, f"{owner} must not ask for consent to {thing}"
        assert subject is not None
        consent = Consent(thing, subject, purpose, ["asked"])
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
        """Mark a thing, ask whom it is about, and have them agree; None for what cannot be about anybody."""
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
        offer = replace(offer, begins=None, ends=None)
        may = self.model.fit(thing, offer) == offer
        wish = Wish(self._terms(offer), None)
        try:
            request = await self.requests.ask(self.people[person], self.things[thing], wish)
        except InvalidRequestError:
            assert not may, f"{person} may ask for {thing}: {offer}"
            return None
        assert may, f"{person} must not ask for {thing}: {offer}"
        asked = Request(person, thing, offer, self.model.hour + ANSWER_HOURS)
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
