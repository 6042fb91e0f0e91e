"""Refusals: whoever is not let do something with what is there is put on record, whatever it is that refuses."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Outcome, Subject
from undercroft.ledger.service import Ledger

_REFUSALS: Final = frozenset(
    {
        ErrorKind.NOT_FOUND,
        ErrorKind.FORBIDDEN,
        ErrorKind.CONFLICT,
        ErrorKind.PRECONDITION_FAILED,
        ErrorKind.LOCKED,
    }
)
"""Errors by which somebody was kept from what is there. The others say that a request or the service is at fault."""


@dataclass(frozen=True, slots=True)
class Target:
    """What somebody wanted to act on, and whose it is: None for what is the tenant's."""

    subject: Subject
    owner_id: UUID | None


FindTarget: TypeAlias = Callable[[Transaction], Awaitable[Target | None]]
"""Finds it in the whole tenant; None when it is not there at all."""

FindOwner: TypeAlias = Callable[[Transaction, UUID], Awaitable[Record | None]]
"""A statement that answers ``owner_id`` and ``salt`` of a thing in the whole tenant; None when it is not there."""


def find_target(prefix: str, object_id: UUID, find_owner: FindOwner) -> FindTarget:
    """What finds one thing, which the ledger names by this prefix and its id."""

    async def find(transaction: Transaction) -> Target | None:
        row = await find_owner(transaction, object_id)
        if row is None:
            return None
        return Target(Subject(render_id(prefix, object_id), row["salt"]), row["owner_id"])

    return find


@asynccontextmanager
async def recording_refusal(
    database: Database, ledger: Ledger, scope: Scope, action: Action, find: FindTarget
) -> AsyncGenerator[Transaction]:
    """A transaction on one thing, whose refusal is put on record: see :func:`refusals_recorded`."""
    async with (
        refusals_recorded(database, ledger, scope, action, find),
        database.transaction(scope) as transaction,
    ):
        yield transaction


@asynccontextmanager
async def refusals_recorded(
    database: Database, ledger: Ledger, scope: Scope, action: Action, find: FindTarget
) -> AsyncGenerator[None]:
    """Where one thing is acted on. When that is refused, it is put on record by a transaction of its own.

    "Not found" is a refusal where the thing is another's. Of one's own it is true, and no refusal. What is not there at
    all is put on record as a refusal of the tenant's: else the time of the answer would tell what is there, and nobody
    would see that somebody tries ids.

    Args:
        database: Where the thing is.
        ledger: Where the refusal is put on record.
        scope: Who acts.
        action: What is tried.
        find: Finds what it is tried on.
    """
    try:
        yield
    except UndercroftError as error:
        if error.kind in _REFUSALS:
            async with database.transaction(scope) as transaction:
                target = await _find_or_tenant(transaction, ledger, scope, find)
            is_own = target.owner_id == scope.principal_id
            if not (is_own and error.kind is ErrorKind.NOT_FOUND):
                denied = Act(action, target.subject, target.owner_id, outcome=Outcome.DENIED)
                await ledger.append_denial(scope, denied)
        raise


async def _find_or_tenant(
    transaction: Transaction, ledger: Ledger, scope: Scope, find: FindTarget
) -> Target:
    """The thing, or the tenant where it is not there; asked for both in any case, so that both take the same time."""
    tenant = await ledger.tenant(transaction, scope.tenant_id)
    return await find(transaction) or Target(tenant, None)
