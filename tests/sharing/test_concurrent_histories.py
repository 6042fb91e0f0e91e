"""Random operations at once, each client over a connection of its own: nobody sees what had been taken back."""

import asyncio
import os
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

import pytest
from asyncpg import DeadlockDetectedError

from tests.sharing.model.grants import EVERYONE
from tests.sharing.model.parts import Given, Offer
from tests.sharing.twin.cast import (
    ACTIONS,
    CONVERSATION,
    DOCUMENTS,
    GROUPS,
    PEOPLE,
    POINTERS,
    PURPOSES,
    RECORDS,
    SOURCE,
)
from tests.sharing.twin.reads import Seen
from tests.sharing.twin.services import Ways
from tests.sharing.twin.sharing import REFUSALS
from tests.sharing.twin.tenant import Twin, open_twin
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.consents.errors import ConsentStateError, MixedSubjectsError
from undercroft.sharing.errors import ConsentRequiredError
from undercroft.sharing.models import GrantAction, Terms
from undercroft.sharing.requests.errors import RequestClosedError
from undercroft.sharing.requests.models import Wish

SEEDS: Final = int(os.environ.get("UNDERCROFT_TEST_SHARING_SEEDS", "2"))
BATCHES: Final = 3
CLIENTS: Final = 6
CALLS: Final = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """What somebody was let do, and which grants and consents had been taken back before they asked."""

    person: str
    purpose: str | None
    gone: frozenset[UUID]
    ways: Ways
    records: Mapping[str, Seen]
    conversation: Seen
    sources: Collection[UUID]
    """The grants under which they saw what the conversation was made from."""


class Crowd:
    """Clients that do things in the database at the same time; the model learns of it afterwards, from the rows."""

    def __init__(self, twin: Twin, random: Random) -> None:
        self._twin = twin
        self._random = random
        self._gone: set[UUID] = set()
        self._used: list[tuple[UUID, ...]] = []
        self._readings: list[Reading] = []

    async def run(self) -> None:
        """One batch: everybody at once, then hold what they saw and what is left against the model."""
        await self._prepare()
        asking = [(person, purpose) for person in PEOPLE for purpose in PURPOSES]
        before = {one: await self._twin.ways(*one) for one in asking}
        self._gone |= {one for one, given in self._twin.model.grants.items() if given.is_ended}
        self._readings = []
        await asyncio.gather(*(self._act(Random(self._random.random())) for _ in range(CLIENTS)))
        # The order in which things happened was the database's to choose: so the rows say it.
        self._twin.model = await self._twin.read_model()
        await self._twin.check()
        self._check_rows()
        for reading in self._readings:
            self._check_reading(reading, before[reading.person, reading.purpose])

    async def _prepare(self) -> None:
        """Something to take back: grants with few uses, shared on, to groups, and in stores."""
        twin, random = self._twin, self._random
        for group in GROUPS:
            for person in PEOPLE:
                if (group, person) not in twin.model.members:
                    await twin.join(group, person)
        every = frozenset(ACTIONS)
        for thing in twin.things:
            owner = twin.model.owners[thing]
            purpose, max_uses = random.choice(PURPOSES), random.choice((None, 2))
            fields = random.choice((None, frozenset(random.sample(POINTERS, 2))))
            receiver = random.choice((*PEOPLE, *GROUPS))
            offer = Offer(every, purpose, max_uses=max_uses, fields=fields)
            shared_on = twin.model.fit(thing, Offer(every))
            await twin.share(owner, thing, receiver, twin.model.fit(thing, offer))
            await twin.share("bob", thing, random.choice(PEOPLE), shared_on, purpose)
            await twin.share("cem", thing, random.choice(PEOPLE), shared_on, purpose)
        for store, owner in (("shelf", "ann"), ("drawer", "bob")):
            for document in DOCUMENTS:
                if (store, document) not in twin.model.placed:
                    await twin.place(owner, store, document)
        await self._prepare_agreements(every)
        await twin.check()

    async def _prepare_agreements(self, every: frozenset[str]) -> None:
        """Something to withdraw, with grants that rest on it, and something to answer."""
        twin, random = self._twin, self._random
        thing = random.choice(list(twin.things))
        await twin.agree(thing, random.choice(PEOPLE), "audit")
        for thing, owner in twin.model.owners.items():
            asker, offer = random.choice(PEOPLE), twin.model.fit(thing, Offer(every, "audit"))
            if owner != asker:
                await twin.ask_access(asker, thing, offer)
            for giver, receiver in ((owner, "bob"), ("bob", "cem")):
                if receiver != owner:
                    await twin.share(giver, thing, receiver, offer, "audit")

    async def _act(self, random: Random) -> None:
        for _ in range(CALLS):
            # Rolled back, it never was: what is held against the model is who sees what, and not the order of locks.
            with suppress(DeadlockDetectedError):
                await self._act_once(random)

    async def _act_once(self, random: Random) -> None:
        twin, model = self._twin, self._twin.model
        person, purpose = random.choice(PEOPLE), random.choice(PURPOSES)
        match random.randrange(8):
            case 0:
                await self._share(random, person, purpose)
            case 1:
                await self._revoke(person, random.choice(list(model.grants)))
            case 2:
                document = random.choice(DOCUMENTS)
                if model.owners[document] != person:
                    way = await twin.download(person, document, purpose)
                    self._used.append(() if way is None else way)
            case 3:
                await twin.expel(random.choice(GROUPS), person)
            case 4:
                await self._answer_consent(random)
            case 5:
                await self._mark(random)
            case 6:
                await self._answer_request(random, person)
            case _:
                self._readings.append(await self._read(person, purpose))

    async def _read(self, person: str, purpose: str | None) -> Reading:
        twin, gone = self._twin, frozenset(self._gone)
        records = {one: await twin.read_record(person, one, purpose) for one in RECORDS}
        conversation, sources = await twin.read_conversation(person, purpose)
        ways = await twin.ways(person, purpose)
        return Reading(person, purpose, gone, ways, records, conversation, sources)

    async def _share(self, random: Random, giver: str, purpose: str | None) -> None:
        thing, receiver = random.choice(list(self._twin.things)), random.choice((*PEOPLE, EVERYONE))
        actions = frozenset(random.sample(ACTIONS, 2)) | {"read"}
        offer = self._twin.complete(giver, thing, Offer(actions))
        try:
            await self._twin.grant(giver, thing, receiver, offer, purpose)
        except REFUSALS:
            return

    async def _answer_consent(self, random: Random) -> None:
        consents = self._twin.model.consents
        if not consents:
            return
        consent = random.choice(sorted(consents))
        event = random.choice(("given", "renewed", "withdrawn", "withdrawn"))
        try:
            await self._twin.say(consents[consent].subject, consent, event)
        except ConsentStateError:
            return
        if event == "withdrawn":
            self._gone.add(consent)

    async def _mark(self, random: Random) -> None:
        twin = self._twin
        thing, subject = random.choice(list(twin.things)), random.choice((None, *PEOPLE))
        owner, resource = twin.people[twin.model.owners[thing]], twin.things[thing]
        with suppress(MixedSubjectsError, NotFoundError):
            if subject is None:
                await twin.subjects.unmark(owner, resource)
            else:
                await twin.subjects.mark(owner, resource, twin.people[subject].email)

    async def _answer_request(self, random: Random, asker: str) -> None:
        """Approve or deny what was asked, or ask again meanwhile."""
        twin, model = self._twin, self._twin.model
        request = random.choice(sorted(model.requests))
        thing = model.requests[request].thing
        owner = twin.people[model.owners[thing]]
        with suppress(RequestClosedError, ConsentRequiredError, NotFoundError):
            match random.randrange(4):
                case 0:
                    await twin.requests.deny(owner, request)
                case 1 if model.owners[thing] != asker:
                    wish = Wish(Terms(frozenset({GrantAction.READ})), None)
                    await twin.requests.ask(twin.people[asker], twin.things[thing], wish)
                case _:
                    await twin.requests.approve(owner, request)

    async def _revoke(self, person: str, grant: UUID) -> None:
        try:
            await self._twin.office.grants.revoke(self._twin.people[person], grant)
        except NotFoundError:
            return
        self._gone.add(grant)

    def _check_rows(self) -> None:
        """What no order of the operations could have left behind."""
        model = self._twin.model
        uses = Counter(
            one for way in self._used for one in set[UUID]().union(*map(model.chain, way))
        )
        for one, given in model.grants.items():
            if not given.is_ended:
                self._check_consent(given)
            if self._gone & self._rests_on(one):
                assert given.is_ended, "what derives from it outlives a grant that was revoked"
            if given.parent is not None and model.grants[given.parent].is_ended:
                assert given.is_ended, "it outlives its parent"
            if given.offer.max_uses is not None:
                assert given.uses == uses[one] <= given.offer.max_uses
                assert given.is_ended or given.uses < given.offer.max_uses
            if given.parent is not None and not given.is_ended:
                receiver = model.grants[given.parent].receiver
                assert receiver not in GROUPS or (receiver, given.giver) in model.members

    def _check_consent(self, given: Given) -> None:
        """What is personal is shared under a consent of whom it is about, and under none that was withdrawn."""
        model = self._twin.model
        consent = None if given.consent is None else model.consents[given.consent]
        assert consent is None or consent.is_given, "it outlives its consent"
        subject = model.whom(given.thing, given.offer.fields)
        if subject is not None:
            assert consent is not None, "personal, and shared without consent"
            assert consent.subject == subject, "by another's consent"

    def _rests_on(self, grant: UUID) -> set[UUID]:
        """The grants that one derives from, and their consents."""
        chain = self._twin.model.chain(grant)
        consents = {self._twin.model.grants[one].consent for one in chain}
        return chain | {consent for consent in consents if consent is not None}

    def _check_reading(self, reading: Reading, before: Ways) -> None:
        """Nothing taken back before it began was seen, and what counted before and after was."""
        person, purpose = reading.person, reading.purpose
        throughout = {
            asked: ways & self._twin.model.ways(person, *asked, purpose)
            for asked, ways in before.items()
        }
        for asked, ways in reading.ways.items():
            self._check_ways(reading, ways, throughout[asked])
        for record, seen in reading.records.items():
            self._check_ways(reading, seen.ways, throughout.get((record, "read"), {()}))
            assert seen == self._twin.expect_of_record(seen.ways), "other fields than were granted"
        said = reading.conversation
        self._check_ways(reading, said.ways, throughout.get((CONVERSATION, "read"), {()}))
        self._check_ways(reading, {tuple(reading.sources)}, set())
        owns_source = self._twin.model.owners[SOURCE] == person
        all_along = owns_source or any(throughout[SOURCE, action] for action in ("search", "read"))
        sees_source = bool(all_along or reading.sources)
        expected = self._twin.expect_of_conversation(said.ways, sees_source=sees_source)
        assert said == expected, "not what they may see of what it was made from"

    def _check_ways(
        self,
        reading: Reading,
        ways: Collection[tuple[UUID, ...]],
        throughout: set[tuple[UUID, ...]],
    ) -> None:
        """None of what they came by was gone, and all that there was throughout was there."""
        for way in ways:
            for grant in way:
                assert not reading.gone & self._rests_on(grant), "gone before the read began"
        assert throughout <= set(ways), "refused, and allowed all along"


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_was_taken_back_is_gone_for_every_connection(
    database: Database, tmp_path: Path, seed: int
) -> None:
    crowd = Crowd(await open_twin(database, tmp_path), Random(seed))
    for _ in range(BATCHES):
        await crowd.run()
