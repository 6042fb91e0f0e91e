"""Answers that are kept are on record when they are made, read and deleted, and when somebody is refused them."""

import asyncpg
import pytest

from tests.chat.responses.test_sources import ANSWER, RENT, id_of, request, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.service import ResponseService
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls


@pytest.fixture
def responses(shelf: Shelf) -> ResponseService:
    return service(shelf, ScriptedModel(*ANSWER))


async def acts(database: Database, scope: Member) -> list[tuple[str, str, str]]:
    """What is on record of answers, in its order."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT action, resource, outcome FROM ledger_pending"
            " WHERE action LIKE 'response.%' ORDER BY xid, ordinal"
        )
    return [(row["action"], row["resource"], row["outcome"]) for row in rows]


async def test_an_answer_is_recorded_as_made_read_and_deleted(
    responses: ResponseService, shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await responses.create(ann, request())
    await responses.create(ann, request(store=False))
    await responses.get(ann, id_of(made))
    async with shelf.database.transaction(ann) as transaction:
        assert await responses.find_salt(transaction, ann, made["id"]) is not None
    await responses.delete(ann, id_of(made))
    assert await acts(shelf.database, ann) == [
        (f"response.{what}", made["id"], "allowed")
        for what in ("create", "answer", "read", "delete")
    ]


async def test_refusals_are_recorded_those_of_what_is_not_there_on_the_tenant(
    responses: ResponseService, shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague = await make_scope(ann.tenant_id, role="admin")
    made = await responses.create(ann, request())
    for attempt in (responses.get, responses.delete):
        for other, response_id in (
            (colleague, id_of(made)),
            (stranger, id_of(made)),
            (colleague, IdSource().new()),
        ):
            with pytest.raises(NotFoundError):
                await attempt(other, response_id)
    denied = [(f"response.{what}", "denied") for what in ("read", "delete")]
    assert (await acts(shelf.database, ann))[2:] == [
        (action, resource, outcome)
        for action, outcome in denied
        for resource in (made["id"], f"tenant_{ann.tenant_id.hex}")
    ]
    assert await acts(shelf.database, stranger) == [
        (action, f"tenant_{stranger.tenant_id.hex}", outcome) for action, outcome in denied
    ]


async def test_an_answer_without_its_sources_is_deleted_on_record(
    responses: ResponseService, shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    made = await responses.create(ann, request(collection))
    await shelf.documents.delete(ann, documents["lease.txt"])
    with pytest.raises(SourceErasedError):
        await responses.get(ann, id_of(made))
    await responses.delete(ann, id_of(made))
    assert [action for action, _, _ in await acts(shelf.database, ann)] == [
        "response.create",
        "response.answer",
        "response.delete",
    ]


async def test_where_the_ledger_cannot_be_written_nothing_happens(
    responses: ResponseService, shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    made = await responses.create(ann, request())
    owner = await asyncpg.connect(database_urls.migration)
    await owner.execute("REVOKE INSERT ON ledger_pending FROM undercroft_app")
    await owner.close()
    for attempt in (
        lambda: responses.create(ann, request()),
        lambda: responses.get(ann, id_of(made)),
        lambda: responses.delete(ann, id_of(made)),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt()
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM responses") == 1
