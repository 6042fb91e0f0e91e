"""An answer that rests on a grant ends with it, also while its model is thinking."""

from contextlib import aclosing
from typing import Any

import asyncpg
import pytest

from tests.chat.responses.test_shared import LEASE
from tests.chat.responses.test_sources import id_of, request, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.retrieval.search.test_shared import SEARCH, grants_of
from tests.shelf import Shelf
from undercroft.chat.sources import REDACTED
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.models import Grantee, GranteeKind, Resource, ResourceKind
from undercroft.sharing.watching import WatchedGrants

RUN_OUT = (
    "UPDATE grants SET not_before = now() - interval '2 h', expires_at = now() - interval '1 h'"
)
ENDINGS = {
    "revoked": None,
    "run out": RUN_OUT,
    "left the group": "DELETE FROM group_members",
}


async def execute_as_owner(urls: DatabaseUrls, statement: str) -> None:
    """Past every policy: for what the service itself has no right to change."""
    owner = await asyncpg.connect(urls.migration)
    try:
        for table in ("grants", "group_members"):
            await owner.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        await owner.execute(statement)
    finally:
        await owner.close()


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_running_answer_is_cut_when_its_grant_ends(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope, ending: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.md": LEASE})
    group_id = IdSource().new()
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(
            "INSERT INTO groups (id, tenant_id, name) VALUES ($1, $2, 'tenants')",
            group_id,
            ann.tenant_id,
        )
        await transaction.execute(
            "INSERT INTO group_members (tenant_id, group_id, user_id) VALUES ($1, $2, $3)",
            ann.tenant_id,
            group_id,
            bob.principal_id,
        )
    grant = await grants_of(shelf).create(
        ann,
        Resource(ResourceKind.COLLECTION, collection),
        Grantee(GranteeKind.GROUP, group_id),
        SEARCH,
    )
    watched = WatchedGrants(shelf.database)
    model = ScriptedModel("The monthly rent ", endless=True)
    responses = service(shelf, model, watched)
    seen: list[dict[str, Any]] = []
    async with aclosing(responses.stream(bob, request(collection))) as events:
        async for event in events:
            seen.append(event)
            if event["type"] == "response.output_text.delta":
                assert await watched.check() == 0
                statement = ENDINGS[ending]
                if statement is None:
                    await grants_of(shelf).revoke(ann, grant.id)
                else:
                    await execute_as_owner(database_urls, statement)
                assert await watched.check() == 1
    error, last = seen[-2:]
    assert (error["type"], error["code"]) == ("error", "access_revoked")
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert model.closed == 1
    kept = await responses.get(bob, id_of(last["response"]))
    assert kept["output"][-1]["content"][0]["text"] == REDACTED
    assert await watched.check() == 0


async def test_an_answer_from_ones_own_documents_is_not_watched(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.md": LEASE})
    watched = WatchedGrants(shelf.database)
    made = await service(shelf, ScriptedModel("The rent."), watched).create(
        ann, request(collection)
    )
    assert made["status"] == "completed"
    assert not watched._running
