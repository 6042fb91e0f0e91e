"""Whether the database and the model agree."""

from collections.abc import Collection

from tests.sharing.twin.cast import CONVERSATION, PEOPLE, PURPOSES, RECORDS, STRANGER
from tests.sharing.twin.reads import Reads
from tests.sharing.twin.rows import Rows


class Checked(Rows, Reads):
    """A tenant that is compared with its model."""

    async def check(self, people: Collection[str] = (*PEOPLE, STRANGER)) -> None:
        """Everything that anybody may do, for each purpose; and what is kept of grants and of stores."""
        for person in people:
            for purpose in PURPOSES:
                for (thing, action), ways in (await self.ways(person, purpose)).items():
                    expected = self.model.ways(person, thing, action, purpose)
                    assert ways == expected, (
                        f"{person} {action} {thing} for {purpose}: {ways} is not {expected}"
                    )
                await self._check_reads(person, purpose)
        kept = {one: (given.is_ended, given.uses) for one, given in self.model.grants.items()}
        assert await self.read_grants() == kept
        assert await self.read_placed() == {
            place: placement.grant for place, placement in self.model.placed.items()
        }

        await self._check_consents()
        await self._check_requests()

    async def _check_reads(self, person: str, purpose: str | None) -> None:
        """What somebody is shown of records, field by field, and of the conversation, once there are grants of them."""
        shared = {given.thing for given in self.model.grants.values()}
        for record in shared.intersection(RECORDS):
            ways = self.model.ways_to_read(person, record, purpose)
            seen = await self.read_record(person, record, purpose)
            assert seen == self.expect_of_record(ways), f"{person} reads {record} for {purpose}"
        if CONVERSATION not in shared:
            return
        ways = self.model.ways_to_read(person, CONVERSATION, purpose)
        sees_source = self.model.may_see_source(person, CONVERSATION, purpose)
        said, _ = await self.read_conversation(person, purpose)
        expected = self.expect_of_conversation(ways, sees_source=sees_source)
        assert said == expected, f"{person} reads {CONVERSATION} for {purpose}"

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
