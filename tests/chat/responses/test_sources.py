"""A kept response can be traced to its sources before a word of them is seen, and is redacted once they are gone."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import pytest

from tests.chat.scripted import SCRIPTED, ScriptedModel, no_tools
from tests.chat.streams_process import AT_ONCE, open_process
from tests.conftest import MakeScope, Member
from tests.documents import make_trash
from tests.shelf import Shelf
from tests.stepping import Gate
from undercroft.chat.answering import Answerer
from undercroft.chat.providers.protocol import Message, ModelProvider, Role
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.questions import FileSearch, Question
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.room import RunLimits
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.sources import REDACTED
from undercroft.chat.tools.client import ToolClient
from undercroft.identity.policies import TenantPolicies
from undercroft.kit.clock import SystemClock
from undercroft.kit.errors import ErrorKind, NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, parse_id
from undercroft.metering.service import Metering
from undercroft.sharing.watching import WatchedGrants

RENT = "The monthly rent is £1,250.00 and is due on the first day of each month."
ASKED = "How much is the monthly rent?"
ANSWER = ("The monthly rent ", "is £1,250.00.")


def service(
    shelf: Shelf,
    model: ModelProvider,
    watched: WatchedGrants | None = None,
    limits: RunLimits = AT_ONCE,
    tools: ToolClient | None = None,
    summary_model: str | None = None,
    others: Sequence[ModelProvider] = (),
    metering: Metering | None = None,
) -> ResponseService:
    """Responses of a process of its own."""
    registry = ModelRegistry([model, *others], default_model=SCRIPTED)
    watched = watched or WatchedGrants(shelf.database)
    answers = Answerer(shelf.search, registry, watched)
    return ResponseService(
        shelf.stepped,
        shelf.keys,
        shelf.ledger,
        answers,
        IdSource(),
        SystemClock(),
        watched,
        open_process(shelf.database),
        metering or Metering(shelf.database, IdSource()),
        limits,
        TenantPolicies(shelf.database, shelf.ledger),
        tools or no_tools(),
        summary_model,
    )


def request(*collections: UUID, store: bool = True) -> ResponseRequest:
    asked = Question((Message(Role.USER, ASKED),), SCRIPTED, search=FileSearch(collections, 8))
    return ResponseRequest(asked, {"model": SCRIPTED}, store, include_results=True)


def id_of(resource: dict[str, Any]) -> UUID:
    response_id = parse_id("resp_", resource["id"])
    assert response_id is not None
    return response_id


async def kept(shelf: Shelf, scope: Member) -> tuple[str, int] | None:
    """The status of the one response, and how many sources are recorded, as another connection sees them."""
    async with shelf.database.transaction(scope) as transaction:
        row = await transaction.fetchrow(
            "SELECT r.status, (SELECT count(*) FROM response_passages AS p WHERE p.response_id = r.id) AS sources"
            " FROM responses AS r"
        )
    return None if row is None else (row["status"], row["sources"])


async def test_sources_are_recorded_before_what_was_found_is_seen(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT, "boat.txt": "A ferry."})
    seen: list[str] = []
    async with aclosing(
        service(shelf, ScriptedModel(*ANSWER)).stream(ann, request(collection))
    ) as events:
        async for event in events:
            assert event["sequence_number"] == len(seen)
            seen.append(event["type"])
            is_found = "response.file_search_call.completed" in seen
            is_over = event["type"] == "response.completed"
            status, sources = await kept(shelf, ann) or ("", 0)
            # What makes it may be ahead of what is seen of it, never behind.
            assert status in ({"completed"} if is_over else {"in_progress", "completed"})
            assert sources in ({2} if is_found else {0, 2}), event["type"]
    assert seen[:6] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.file_search_call.in_progress",
        "response.file_search_call.searching",
        "response.file_search_call.completed",
    ]
    assert seen.index("response.file_search_call.completed") < seen.index(
        "response.output_text.delta"
    )
    assert "response.output_text.annotation.added" in seen
    async with shelf.database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT number, document_id, document_version, start_offset, end_offset FROM response_passages"
            " ORDER BY number"
        )
    assert tuple(rows[0]) == (1, documents["lease.txt"], 1, 0, len(RENT))
    assert rows[1]["document_id"] == documents["boat.txt"]


@pytest.mark.parametrize("loss", ["deleted", "given away"])
async def test_a_response_is_redacted_once_one_of_its_sources_cannot_be_read(
    shelf: Shelf, make_scope: MakeScope, loss: str
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT, "boat.txt": "A ferry."})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = await responses.create(ann, request(collection))
    assert await responses.get(ann, id_of(made)) == made
    # A document that was shown to the model and not cited is a source too.
    lost = documents["boat.txt"]
    if loss == "deleted":
        await make_trash(shelf.documents).put(ann, lost)
    else:
        colleague = await make_scope(ann.tenant_id)
        async with shelf.database.transaction(ann) as transaction:
            await transaction.execute(
                "UPDATE documents SET owner_id = $1 WHERE id = $2", colleague.principal_id, lost
            )
            await transaction.execute(
                "DELETE FROM collection_documents WHERE document_id = $1", lost
            )
    shown = await responses.get(ann, id_of(made))
    assert shown["id"] == made["id"]
    assert shown["status"] == "completed"
    search, message = shown["output"]
    assert (search["queries"], search["results"]) == ([], None)
    assert message["content"] == [
        {"type": "output_text", "text": REDACTED, "annotations": [], "logprobs": []}
    ]
    for content in ("1,250", "lease.txt", "boat.txt", "ferry", ASKED):
        assert content not in str(shown)


async def test_why_a_response_failed_is_redacted_with_it_as_it_may_quote_the_prompt(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    refused = UndercroftError(
        f"Model server 'x' refused the request: too long: '{RENT}'",
        kind=ErrorKind.INVALID_REQUEST,
        code="upstream_refused",
    )
    responses = service(shelf, ScriptedModel(failure=refused))
    seen = [event async for event in responses.stream(ann, request(collection))]
    made = seen[-1]["response"]
    whole = await responses.get(ann, id_of(made))
    assert whole["error"] == {"code": "upstream_refused", "message": refused.message}
    await make_trash(shelf.documents).put(ann, documents["lease.txt"])
    shown = await responses.get(ann, id_of(made))
    assert shown["error"]["code"] == "upstream_refused"
    assert "1,250" not in str(shown)


async def test_removing_a_membership_keeps_the_response_readable(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = await responses.create(ann, request(collection))
    await shelf.collections.remove(ann, collection, documents["lease.txt"])
    assert await responses.get(ann, id_of(made)) == made


async def test_a_search_that_fails_is_a_failed_response_with_an_error_event(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    model = ScriptedModel(*ANSWER)
    responses = service(shelf, model)
    seen: list[dict[str, Any]] = []
    gate = shelf.embedder.gate = Gate()
    async with aclosing(responses.stream(ann, request(collection))) as events:
        async for event in events:
            seen.append(event)
            if event["type"] == "response.file_search_call.searching":
                await gate.wait_until_reached()
                await shelf.collections.delete(ann, collection)
                gate.open()
    assert [event["type"] for event in seen[-2:]] == ["error", "response.failed"]
    assert seen[-2]["code"] == "not_found"
    assert model.requests == []
    assert await kept(shelf, ann) == ("failed", 0)
    failed = await responses.get(ann, id_of(seen[-1]["response"]))
    assert failed["error"]["code"] == "not_found"


async def test_a_whole_response_raises_what_failed_and_keeps_what_was_said(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    failure = UndercroftError("The model's server hung up.", kind=ErrorKind.UPSTREAM_FAILED)
    responses = service(shelf, ScriptedModel(*ANSWER, failure=failure))
    with pytest.raises(UndercroftError) as raised:
        await responses.create(ann, request(collection))
    assert raised.value is failure
    assert await kept(shelf, ann) == ("failed", 1)


async def test_a_request_that_is_cancelled_while_it_searches_is_kept_as_cancelled(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    gate = shelf.embedder.gate = Gate()
    making = asyncio.create_task(service(shelf, ScriptedModel()).create(ann, request(collection)))
    await gate.wait_until_reached()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert await kept(shelf, ann) == ("cancelled", 0)


@pytest.mark.parametrize(
    "moment", ["response.file_search_call.searching", "response.content_part.added"]
)
async def test_a_response_that_is_deleted_while_it_is_made_stays_deleted(
    shelf: Shelf, make_scope: MakeScope, moment: str
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    gate = Gate()
    if moment.startswith("response.file_search_call"):
        shelf.embedder.gate = gate
    responses = service(
        shelf, ScriptedModel("The monthly rent is £1,250.00. ", "It is due.", gate=gate)
    )
    async with aclosing(responses.stream(ann, request(collection))) as events:
        response_id = id_of((await anext(events))["response"])
        seen: list[dict[str, Any]] = []
        async for event in events:
            seen.append(event)
            if event["type"] == moment:
                await gate.wait_until_reached()
                await responses.delete(ann, response_id)
                gate.open()
    assert moment in [event["type"] for event in seen]
    assert [event["type"] for event in seen[-2:]] == ["error", "response.failed"]
    assert seen[-2]["code"] == "not_found"
    assert "due" not in str(seen[-2:])
    assert await kept(shelf, ann) is None


async def test_what_is_not_to_be_kept_leaves_no_trace(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    made = await service(shelf, ScriptedModel(*ANSWER)).create(
        ann, request(collection, store=False)
    )
    assert made["status"] == "completed"
    assert await kept(shelf, ann) is None


async def test_nothing_is_begun_for_a_collection_that_is_not_there(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    responses = service(shelf, ScriptedModel())
    with pytest.raises(NotFoundError):
        await responses.create(ann, request(IdSource().new()))
    with pytest.raises(NotFoundError):
        await anext(responses.stream(ann, request(IdSource().new())))
    assert await kept(shelf, ann) is None
