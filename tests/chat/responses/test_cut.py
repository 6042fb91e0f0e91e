"""An answer that rests on a grant ends with it, also while its model is thinking."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.chat.conversations.conftest import said
from tests.chat.conversations.test_turns import ask, conversations_of
from tests.chat.responses.test_shared import LEASE
from tests.chat.responses.test_sources import id_of, request, service
from tests.chat.responses.test_streams import READ, in_background, is_text, read, until
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.conftest import MakeScope, Member
from tests.documents import make_trash
from tests.retrieval.search.test_shared import SEARCH, grants_of, share
from tests.second_factors import demand_factors, enrol
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate
from undercroft.chat.providers.extractive import MODEL_ID as EXTRACTIVE
from undercroft.chat.providers.protocol import ModelInfo
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.sources import REDACTED
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.models import (
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    ResourceKind,
    Terms,
)
from undercroft.sharing.watching import WatchedGrants
from undercroft.vault.models import DocumentChanges

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
                # What makes it, and what shows it.
                assert await watched.check() == 2
    error, last = seen[-2:]
    assert (error["type"], error["code"]) == ("error", "access_revoked")
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert model.closed == 1
    kept = await responses.get(bob, id_of(last["response"]))
    assert kept["output"][-1]["content"][0]["text"] == REDACTED
    assert await watched.check() == 0


class EitherModel(ScriptedModel):
    """Answers under the extractive model's name, too."""

    async def list_models(self) -> tuple[ModelInfo, ...]:
        (one,) = await super().list_models()
        return one, replace(one, id=EXTRACTIVE)


async def cut_when(
    shelf: Shelf,
    scope: Member,
    asked: ResponseRequest,
    lose: Callable[[], Awaitable[object]],
    *,
    is_lost: bool = True,
) -> list[dict[str, Any]]:
    """The events of an answer that never ends by itself, and from under which something is taken once it has begun."""
    watched = WatchedGrants(shelf.database)
    model = EitherModel("The monthly rent ", endless=True)
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        async with aclosing(service(shelf, model, watched).stream(scope, asked)) as events:
            async for event in events:
                seen.append(event)
                if event["type"] == "response.output_text.delta":
                    assert await watched.check() == 0
                    await lose()
                    assert await watched.check() == 2 * is_lost
                    if not is_lost:
                        return seen
    assert model.closed == 1
    assert not watched._running
    error, last = seen[-2:]
    assert (error["type"], error["code"]) == ("error", "access_revoked")
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    return seen


@pytest.mark.parametrize("asks", ["owner", "grantee"])
@pytest.mark.parametrize("change", ["seal", "trash"])
async def test_what_is_sealed_or_in_the_trash_is_in_no_running_answer(
    shelf: Shelf, make_scope: MakeScope, asks: str, change: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"lease.md": LEASE})
    await share(shelf, ann, ResourceKind.COLLECTION, collection, bob)
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "seal": partial(seal, shelf, ann, documents["lease.md"]),
        "trash": partial(make_trash(shelf.documents).put, ann, documents["lease.md"]),
    }
    reader = ann if asks == "owner" else bob
    seen = await cut_when(shelf, reader, request(collection), changes[change])
    kept = await service(shelf, ScriptedModel()).get(reader, id_of(seen[-1]["response"]))
    assert kept["output"][-1]["content"][0]["text"] == REDACTED


async def test_an_answer_from_ones_own_documents_is_not_cut_in_doubt(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """Whatever the database does not say: one's own is nobody else's to take away."""
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.md": LEASE})
    watched = WatchedGrants(shelf.database, patience=0)
    model = ScriptedModel("The monthly rent ", "is due.", gate=(gate := Gate()))
    made = asyncio.create_task(service(shelf, model, watched).create(ann, request(collection)))
    await gate.wait_until_reached()
    assert watched._running
    with pytest.raises(TimeoutError):
        await watched.check()
    gate.open()
    assert (await made)["status"] == "completed"


CONVERSATION_ENDINGS = {"revoked": None, "run out": RUN_OUT}


@pytest.mark.parametrize("model", [SCRIPTED, EXTRACTIVE])
@pytest.mark.parametrize("taken", [GrantAction.READ, GrantAction.WRITE])
@pytest.mark.parametrize("ending", CONVERSATION_ENDINGS)
async def test_what_is_answered_in_anothers_conversation_ends_with_either_grant_of_it(
    shelf: Shelf,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
    ending: str,
    taken: GrantAction,
    model: str,
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    begun = await conversations_of(shelf).create(ann, {}, [said("The rent is due.")])
    grants = {
        action: await share(
            shelf,
            ann,
            ResourceKind.CONVERSATION,
            begun.id,
            bob,
            Terms(frozenset({action})),
        )
        for action in (GrantAction.READ, GrantAction.WRITE)
    }
    statement = CONVERSATION_ENDINGS[ending]

    async def lose() -> None:
        if statement is None:
            await grants_of(shelf).revoke(ann, grants[taken].id)
        else:
            await execute_as_owner(database_urls, f"{statement} WHERE id = '{grants[taken].id}'")

    asked = ask(begun, "Is the rent due?")
    asked = replace(asked, question=replace(asked.question, model=model))
    await cut_when(shelf, bob, asked, lose)


async def test_an_owner_goes_on_answering_in_a_conversation_that_others_lose(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    begun = await conversations_of(shelf).create(ann, {}, [said("The rent is due.")])
    both = Terms(frozenset({GrantAction.READ, GrantAction.WRITE}))
    given = await share(shelf, ann, ResourceKind.CONVERSATION, begun.id, bob, both)
    revoke = partial(grants_of(shelf).revoke, ann, given.id)
    await cut_when(shelf, ann, ask(begun, "Is the rent due?"), revoke, is_lost=False)


async def seal(shelf: Shelf, owner: Member, document: UUID) -> None:
    await shelf.documents.update(owner, document, DocumentChanges(is_sealed=True), None)


WATCHER_ENDINGS = ["response", "document", "run out", "seal", "suspended", "second factor"]


@pytest.mark.parametrize("ending", WATCHER_ENDINGS)
async def test_whoever_watches_what_is_shared_with_them_is_cut_though_no_event_comes(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope, ending: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"lease.md": LEASE})
    watched = WatchedGrants(shelf.database)
    responses = service(shelf, ScriptedModel("The monthly rent ", endless=True), watched)
    made = id_of(await responses.begin(ann, in_background(collection)))
    grants = {
        "response": await share(shelf, ann, ResourceKind.RESPONSE, made, bob, READ),
        "document": await share(shelf, ann, ResourceKind.DOCUMENT, documents["lease.md"], bob),
    }
    watching, own = responses.watch(bob, made, -1), responses.watch(ann, made, -1)
    async with aclosing(watching), aclosing(own):
        seen = await until(watching, is_text)
        await until(own, is_text)
        assert await watched.check() == 0
        waiting = asyncio.create_task(read(watching))
        match ending:
            case "seal":
                await seal(shelf, ann, documents["lease.md"])
            case "suspended":
                async with shelf.database.transaction(ann) as transaction:
                    await transaction.execute(
                        "UPDATE users SET suspended_at = now() WHERE id = $1", bob.principal_id
                    )
            case "second factor":
                await enrol(shelf.database, ann)
                await demand_factors(shelf.database, ann)
            case "run out":
                await execute_as_owner(database_urls, RUN_OUT)
            case _:
                await grants_of(shelf).revoke(ann, grants[ending].id)
        # Sealed, it is lost to whoever made the answer, and to whoever watches it for its owner, as well.
        assert await watched.check() == (3 if ending == "seal" else 1)
        (last,) = await waiting
        code = "second_factor_required" if ending == "second factor" else "access_revoked"
        assert (last["type"], last["code"]) == ("error", code)
        assert last["sequence_number"] == len(seen)
        if ending != "seal":
            assert made in responses.runs.running
            await responses.cancel(ann, made)
            assert (await read(own))[-1]["type"] == "response.incomplete"


async def test_a_watcher_with_another_way_is_not_cut(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    watched = WatchedGrants(shelf.database)
    gate = Gate()
    model = ScriptedModel("The monthly rent ", "is due.", gate=gate)
    responses = service(shelf, model, watched)
    made = id_of(await responses.begin(ann, in_background()))
    first, _ = [await share(shelf, ann, ResourceKind.RESPONSE, made, bob, READ) for _ in range(2)]
    watching = responses.watch(bob, made, -1)
    async with aclosing(watching):
        seen = await until(watching, is_text)
        await grants_of(shelf).revoke(ann, first.id)
        assert await watched.check() == 1
        gate.open()
        seen += await read(watching)
    assert seen[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))


async def test_who_reads_slowly_sees_no_more_of_what_came_before(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    watched = WatchedGrants(shelf.database)
    responses = service(shelf, ScriptedModel("One. ", "Two. ", "Three."), watched)
    made = id_of(await responses.create(ann, in_background()))
    given = await share(shelf, ann, ResourceKind.RESPONSE, made, bob, READ)
    watching = responses.watch(bob, made, -1)
    async with aclosing(watching):
        seen = await until(watching, is_text)
        await grants_of(shelf).revoke(ann, given.id)
        assert await watched.check() == 1
        (last,) = await read(watching)
    assert (last["code"], last["sequence_number"]) == ("access_revoked", len(seen))
