"""What people do with grants, stores and groups, in both: what one allows, the other has to."""

from typing import Final
from uuid import UUID

from tests.sharing.model.parts import Offer
from tests.sharing.twin.cast import HOUR
from tests.sharing.twin.services import Served
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.sharing.errors import ConsentRequiredError, GrantEndedError, WideningError

REFUSALS: Final = (
    NotFoundError,
    WideningError,
    GrantEndedError,
    InvalidRequestError,
    ConsentRequiredError,
)
_TIMES: Final = (
    "UPDATE grants SET not_before = not_before - $1::interval, expires_at = expires_at - $1::interval",
    "UPDATE consents SET given_at = given_at - $1::interval, valid_until = valid_until - $1::interval",
    "UPDATE access_requests SET created_at = created_at - $1::interval, expires_at = expires_at - $1::interval",
)


class Shared(Served):
    """A tenant whose people share."""

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
