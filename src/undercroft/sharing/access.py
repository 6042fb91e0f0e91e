"""Who may do what, and why: one question, and both of its reverses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from undercroft.kit.database import Database, Transaction, set_scope
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, ActorScope
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import OWNED, Grant, GrantAction, Resource, Way
from undercroft.sharing.repository import GrantRepository
from undercroft.sharing.service import no_resource, subject_of

_START: Final = UUID(int=0)
_MOST_PURPOSES: Final = 20
"""For how many purposes one thing is explained at once: each is a statement."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What somebody may do with a thing.

    Attributes:
        ways: For each action that they may take, the ways in which they may.
        chains: Each grant of those ways, and each that it derives from, by id.
    """

    resource: Resource
    principal_id: UUID
    is_owner: bool
    ways: Mapping[GrantAction, Sequence[Way]]
    chains: Mapping[UUID, Grant]


class AccessService:
    """Answers from the same functions of the database by which every statement authorises.

    Args:
        database: Where grants are.
        ledger: Where it is put on record that somebody looked who may see a thing.
    """

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._repository = GrantRepository()

    async def explain(
        self, scope: Scope, resource: Resource, principal_id: UUID | None = None
    ) -> Explanation:
        """What somebody may do with a thing: the principal, or, of what the principal owns, anybody of the tenant.

        Raises:
            NotFoundError: When the principal may do nothing with it, or asks of another and does not own it.
        """
        asked = scope.principal_id if principal_id is None else principal_id
        async with self._database.transaction(scope) as transaction:
            # Of what is not there as well, so that it takes the same time: nobody can do anything with it.
            owner_id = await self._find_owner(transaction, resource)
            if scope.principal_id not in {asked, owner_id}:
                raise no_resource(resource)
            explained = await self._explain(transaction, scope, resource, owner_id, asked)
            if asked == scope.principal_id and not explained.ways:
                raise no_resource(resource)
            return explained

    async def list_principals(
        self, scope: Scope, resource: Resource, *, after: UUID | None, limit: int
    ) -> list[Explanation]:
        """Who can do anything with a thing of the principal's, by id. That somebody looked is put on record.

        For whichever purpose they would have to state; where the principal states one, for that alone.

        Raises:
            NotFoundError: When the principal does not own it.
        """
        found: list[Explanation] = []
        async with self._database.transaction(scope) as transaction:
            shared = await self._repository.find_resource(transaction, resource)
            if shared is None or shared.owner_id != scope.principal_id:
                raise no_resource(resource)
            act = Act("access.read", subject_of(shared), shared.owner_id)
            await self._ledger.append(transaction, scope, act)
            last = after or _START
            while len(found) < limit:
                users = await self._repository.list_principals(
                    transaction, resource.id, shared.owner_id, last, limit
                )
                for user_id in users[: limit - len(found)]:
                    last = user_id
                    explained = await self._explain(
                        transaction, scope, resource, shared.owner_id, user_id, is_listed=True
                    )
                    if explained.ways:
                        found.append(explained)
                if len(users) < limit:
                    break
        return found

    async def list_resources(
        self, scope: Scope, *, after: UUID | None, limit: int
    ) -> list[Explanation]:
        """What the principal can do anything with, by id: what is theirs and what is shared with them.

        For whichever purpose they would have to state; where they state one, for that alone.
        """
        found: list[Explanation] = []
        async with self._database.transaction(scope) as transaction:
            last = after or _START
            while len(found) < limit:
                visible = await self._repository.list_visible(transaction, last, limit)
                for resource in visible[: limit - len(found)]:
                    last = resource.id
                    owner_id = await self._find_owner(transaction, resource)
                    explained = await self._explain(
                        transaction, scope, resource, owner_id, scope.principal_id, is_listed=True
                    )
                    if explained.ways:
                        found.append(explained)
                if len(visible) < limit:
                    break
        return found

    async def _find_owner(self, transaction: Transaction, resource: Resource) -> UUID | None:
        shared = await self._repository.find_resource(transaction, resource)
        return None if shared is None else shared.owner_id

    async def _explain(
        self,
        transaction: Transaction,
        scope: Scope,
        resource: Resource,
        owner_id: UUID | None,
        principal_id: UUID,
        *,
        is_listed: bool = False,
    ) -> Explanation:
        if principal_id == owner_id:
            owned = dict.fromkeys(GrantAction, OWNED)
            return Explanation(resource, principal_id, True, owned, {})
        is_other = principal_id != scope.principal_id
        if is_other:
            # The database decides for whoever asks: so the other one asks, for as long as this takes.
            await set_scope(transaction, ActorScope(scope.tenant_id, principal_id))
        if is_listed and scope.purpose is None:
            ways = await self._explain_for_any_purpose(transaction, resource)
        else:
            ways = await self._repository.explain_ways(transaction, resource)
        if is_other:
            await set_scope(transaction, scope)
        grants = {grant.id for action in ways.values() for way in action for grant in way.grants}
        chains = await self._repository.list_chain(transaction, sorted(grants)) if grants else []
        return Explanation(
            resource, principal_id, False, ways, {grant.id: grant for grant in chains}
        )

    async def _explain_for_any_purpose(
        self, transaction: Transaction, resource: Resource
    ) -> dict[GrantAction, tuple[Way, ...]]:
        """What somebody could do who stated one purpose or another: what is for any purpose counts for each."""
        purposes = await self._repository.list_purposes(transaction, resource.id, _MOST_PURPOSES)
        if not purposes:
            return await self._repository.explain_ways(transaction, resource)
        found: dict[GrantAction, dict[Way, None]] = {}
        for purpose in purposes:
            await self._repository.state_purpose(transaction, purpose)
            explained = await self._repository.explain_ways(transaction, resource)
            for action, ways in explained.items():
                found.setdefault(action, {}).update(dict.fromkeys(ways))
        await self._repository.state_purpose(transaction, None)
        return {action: tuple(ways) for action, ways in found.items()}
