"""What is asked for, and the whole of the model."""

from uuid import UUID

from tests.sharing.model.consents import Consents
from tests.sharing.model.parts import Offer, Request


class Model(Consents):
    """A tenant in which people ask for access."""

    def emptied(self) -> "Model":
        """The same things and people, and nothing that was done."""
        return Model(self.owners, self.documents, self.outsiders, self.records, self.conversations)

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
