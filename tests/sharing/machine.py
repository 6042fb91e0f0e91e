"""What anybody of a tenant does next: random histories, step by step."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.sharing.model.grants import EVERYONE
from tests.sharing.model.parts import Offer
from tests.sharing.twin.cast import (
    ACTIONS,
    ANSWER_HOURS,
    CONSENT_PURPOSES,
    DOCUMENTS,
    GROUPS,
    PEOPLE,
    POINTERS,
    PURPOSES,
    STORES,
    THINGS,
    VALIDITY,
)
from tests.sharing.twin.tenant import Twin, open_twin
from undercroft.kit.database import Database

ANSWERS: Final = ("given", "refused", "renewed", "withdrawn")
MOST_GRANTS: Final = 18
"""Somebody's grants to share one thing are looked through up to twenty."""

people = st.sampled_from(PEOPLE)
things = st.sampled_from(THINGS)
documents = st.sampled_from(DOCUMENTS)
purposes = st.sampled_from(PURPOSES)
offers = st.builds(
    Offer,
    st.frozensets(st.sampled_from(ACTIONS), min_size=1).map(lambda actions: actions | {"read"}),
    purpose=purposes,
    ends=st.none() | st.integers(7, 9),
    max_uses=st.none() | st.integers(1, 2),
    fields=st.none() | st.frozensets(st.sampled_from(POINTERS), min_size=1),
)
receivers = st.sampled_from((*PEOPLE, *GROUPS, EVERYONE))
mostly = st.sampled_from((True, True, True, False))


def narrowed(asked: Offer, offer: Offer) -> Offer:
    """What of an offer was asked for: chance alone rarely grants less."""
    return Offer(
        asked.actions & offer.actions,
        asked.purpose or offer.purpose,
        max_uses=min(filter(None, (asked.max_uses, offer.max_uses)), default=None),
        fields=asked.fields or offer.fields,
    )


class SharingMachine(RuleBasedStateMachine):
    """What anybody does next, in any order.

    Args:
        runner: The event loop, on which the database was opened.
        folder: Where the key file is.
    """

    def __init__(self, runner: asyncio.Runner, database: Database, folder: Path) -> None:
        super().__init__()
        self._runner = runner
        self.twin: Twin = runner.run(open_twin(database, folder))

    @precondition(lambda self: len(self.twin.model.grants) < MOST_GRANTS)
    @rule(
        giver=people,
        thing=things,
        receiver=receivers,
        offer=offers,
        purpose=purposes,
        begins=st.none() | st.integers(0, 2),
        ends=st.none() | st.integers(1, 3),
        is_fitting=mostly,
    )
    def share(
        self,
        giver: str,
        thing: str,
        receiver: str,
        offer: Offer,
        purpose: str | None,
        begins: int | None,
        ends: int | None,
        is_fitting: bool,
    ) -> None:
        """Grant something, by its owner or on, rightly or not."""
        hour = self.twin.model.hour
        timed = replace(
            self.twin.model.fit(thing, offer) if is_fitting else offer,
            begins=None if begins is None else hour + begins,
            ends=None if ends is None else hour + (begins or 0) + ends,
        )
        self._runner.run(self.twin.share(giver, thing, receiver, timed, purpose))

    @precondition(lambda self: self.twin.model.grants)
    @rule(person=people, place=st.integers(0, MOST_GRANTS))
    def revoke(self, person: str, place: int) -> None:
        """End a grant, rightly or not."""
        grants = list(self.twin.model.grants)
        self._runner.run(self.twin.revoke(person, grants[place % len(grants)]))

    @rule(person=people, document=documents, purpose=purposes)
    def use(self, person: str, document: str, purpose: str | None) -> None:
        """Download what is another's."""
        if self.twin.model.owners[document] != person:
            self._runner.run(self.twin.use(person, document, purpose))

    @rule(
        store=st.sampled_from(STORES), document=documents, purpose=purposes, is_lent=st.booleans()
    )
    def place(self, store: str, document: str, purpose: str | None, is_lent: bool) -> None:
        """Put a document into a store: as the store's owner, or as the document's."""
        if (store, document) not in self.twin.model.placed:
            owner = self.twin.model.owners[store if is_lent else document]
            self._runner.run(self.twin.place(owner, store, document, purpose))

    @rule(group=st.sampled_from(GROUPS), person=people)
    def join_or_leave(self, group: str, person: str) -> None:
        """Bring somebody into a group, or take them out of it."""
        is_in = (group, person) in self.twin.model.members
        self._runner.run((self.twin.leave if is_in else self.twin.join)(group, person))

    @rule(document=documents)
    def trash(self, document: str) -> None:
        """Move a document to the trash, or back."""
        self._runner.run(self.twin.trash(document))

    @rule(hours=st.sampled_from((1, 1, 1, VALIDITY, ANSWER_HOURS)))
    def pass_hours(self, hours: int) -> None:
        """Let grants begin and end, consents end, and questions be over."""
        self._runner.run(self.twin.pass_hours(hours))

    @rule()
    def expire(self) -> None:
        """The worker's round."""
        self._runner.run(self.twin.expire())

    @rule(thing=things, subject=people, purpose=st.sampled_from(CONSENT_PURPOSES))
    def agree(self, thing: str, subject: str, purpose: str) -> None:
        """Make something personal, ask, and agree."""
        self._runner.run(self.twin.agree(thing, subject, purpose))

    @rule(thing=things, subject=st.none() | people)
    def mark(self, thing: str, subject: str | None) -> None:
        """Say that it is about somebody, or nobody."""
        self._runner.run(self.twin.mark(thing, subject))

    @rule(thing=things, purpose=st.sampled_from(CONSENT_PURPOSES))
    def ask_consent(self, thing: str, purpose: str) -> None:
        """Ask whom it is about, if it is about anybody."""
        self._runner.run(self.twin.ask_consent(thing, purpose))

    @precondition(lambda self: self.twin.model.consents)
    @rule(place=st.integers(0, 20), event=st.sampled_from(ANSWERS), is_subject=st.booleans())
    def answer(self, place: int, event: str, is_subject: bool) -> None:
        """Give, refuse, renew or withdraw, in or out of turn, as its subject or as another."""
        consents = self.twin.model.consents
        consent = sorted(consents)[place % len(consents)]
        subject = consents[consent].subject
        person = subject if is_subject else PEOPLE[PEOPLE.index(subject) - 1]
        self._runner.run(self.twin.answer(person, consent, event))

    @rule(person=people, thing=things, offer=offers, is_fitting=mostly)
    def ask_access(self, person: str, thing: str, offer: Offer, is_fitting: bool) -> None:
        """Ask for a grant of what is another's."""
        model = self.twin.model
        if model.owners[thing] != person:
            asked = model.fit(thing, offer) if is_fitting else offer
            self._runner.run(self.twin.ask_access(person, thing, asked))

    @precondition(
        lambda self: self.twin.model.requests and len(self.twin.model.grants) < MOST_GRANTS
    )
    @rule(
        place=st.integers(0, 20),
        is_owner=mostly,
        is_yes=mostly,
        offer=offers,
        is_less=mostly,
        ends=st.none() | st.integers(1, 30),
    )
    def answer_request(
        self,
        place: int,
        is_owner: bool,
        is_yes: bool,
        offer: Offer,
        is_less: bool,
        ends: int | None,
    ) -> None:
        """Grant what is asked for, less of it, or another thing; or say no. As its owner, or as another."""
        model = self.twin.model
        # Mostly one that nobody has answered: chance alone rarely meets it.
        unanswered = [one for one, asked in model.requests.items() if asked.answer is None]
        requests = sorted((unanswered if is_less else None) or model.requests)
        request = requests[place % len(requests)]
        asked = model.requests[request]
        person = model.owners[asked.thing] if is_owner else asked.asker
        if not is_yes:
            self._runner.run(self.twin.deny(person, request))
            return
        wanted = replace(
            model.fit(asked.thing, narrowed(asked.offer, offer)) if is_less else offer,
            begins=None,
            ends=None if ends is None else model.hour + ends,
        )
        self._runner.run(self.twin.approve(person, request, wanted))

    @precondition(lambda self: len(self.twin.model.grants) < MOST_GRANTS)
    @rule(
        person=people, thing=things, asked=offers, offer=offers, ends=st.none() | st.integers(1, 30)
    )
    def ask_and_answer(
        self, person: str, thing: str, asked: Offer, offer: Offer, ends: int | None
    ) -> None:
        """Ask, and be granted it or less by its owner at once: left to chance, hardly a request is approved."""
        model = self.twin.model
        if model.owners[thing] == person:
            return
        request = self._runner.run(self.twin.ask_access(person, thing, model.fit(thing, asked)))
        if request is not None:
            wanted = replace(
                model.fit(thing, narrowed(model.requests[request].offer, offer)),
                ends=None if ends is None else model.hour + ends,
            )
            self._runner.run(self.twin.approve(model.owners[thing], request, wanted))

    @invariant()
    def compare(self) -> None:
        """Nobody may do what the model forbids, and everybody what it allows."""
        self._runner.run(self.twin.check())
