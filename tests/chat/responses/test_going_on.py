"""A text whose process has died goes on in another one: no word is lost, said twice or from other passages."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.chat.conversations.test_turns import ask, conversations_of
from tests.chat.responses.test_sources import ANSWER, ASKED, RENT, id_of, service
from tests.chat.responses.test_streams import in_background, is_text, lapse, read, until
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, grants_of, share
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.service import ResponseService
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import ResourceKind

PIECES = ("The monthly rent is £1,250.00. ", "It is due on the first ", "day.")


async def begin(
    first: ResponseService, gate: Gate, scope: Member, asked: ResponseRequest
) -> tuple[UUID, list[dict[str, Any]]]:
    """A response whose process dies after its first text."""
    begun = await first.begin(scope, asked)
    watching = first.watch(scope, id_of(begun), -1)
    seen = await until(watching, is_text)
    await gate.wait_until_reached()
    await watching.aclose()
    return id_of(begun), seen


def said(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if is_text(event))


async def test_a_text_goes_on_without_a_seam(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    gate, able = Gate(), ScriptedModel(*PIECES, continues=True)
    first, second = service(shelf, ScriptedModel(*PIECES, gate=gate)), service(shelf, able)
    begun, seen = await begin(first, gate, ann, in_background())
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert events[: len(seen)] == seen
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    types = [event["type"] for event in events]
    assert (
        types.count("response.output_item.added") == types.count("response.content_part.added") == 1
    )
    assert types[-1] == "response.completed"
    assert [each.prefix for each in able.requests] == [PIECES[0]]
    (message,) = events[-1]["response"]["output"]
    assert message["content"][0]["text"] == said(events) == "".join(PIECES)
    assert await second.get(ann, begun) == events[-1]["response"]
    gate.open()
    await first.takeover.renew()
    await first.runs.close()


async def test_citations_go_on_as_well(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    whole = await read(
        service(shelf, ScriptedModel(*PIECES)).stream(ann, in_background(collection))
    )
    gate = Gate()
    first = service(shelf, ScriptedModel(*PIECES, gate=gate))
    second = service(
        shelf,
        ScriptedModel(whole[-1]["response"]["output"][1]["content"][0]["text"], continues=True),
    )
    begun, _ = await begin(first, gate, ann, in_background(collection))
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert events[-1]["type"] == "response.completed"
    (uninterrupted,), (continued,) = (
        each[-1]["response"]["output"][1]["content"] for each in (whole, events)
    )
    assert uninterrupted["annotations"], "there is something to be lost"
    assert continued == uninterrupted
    assert said(events) == continued["text"]
    async with shelf.database.transaction(ann) as transaction:
        kept = await transaction.fetchval(
            "SELECT count(*) FROM response_passages WHERE response_id = $1", begun
        )
    assert kept == 1
    gate.open()
    await first.takeover.renew()
    await first.runs.close()


@pytest.mark.parametrize("begins_again", [False, True])
async def test_from_other_passages_nothing_goes_on_or_begins_again(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope, begins_again: bool
) -> None:
    """What stands there rests on those that were found; it is not to rest on others than are on record."""
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    gate, able = Gate(), ScriptedModel(*PIECES, continues=not begins_again)
    first, second = service(shelf, ScriptedModel(*PIECES, gate=gate)), service(shelf, able)
    asked = replace(in_background(collection), begins_again=begins_again)
    begun, seen = await begin(first, gate, ann, asked)
    await shelf.put_version(ann, documents["lease.txt"], f"{RENT} And more.")
    await shelf.run_jobs(ann)
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, begun, -1))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == "response_interrupted"
    assert said(events) == said(seen)
    assert able.requests == []
    gate.open()
    await first.takeover.renew()
    await first.runs.close()


async def test_after_other_turns_nothing_goes_on(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    """What was shown may say what an earlier turn said from a document that its asker may not read any more."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    given = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, SEARCH)
    place = await conversations_of(shelf).create(bob, {})
    await service(shelf, ScriptedModel(*ANSWER)).create(bob, ask(place, ASKED, collection))
    gate, able = Gate(), ScriptedModel(*PIECES, continues=True)
    first, second = service(shelf, ScriptedModel(*PIECES, gate=gate)), service(shelf, able)
    asked = replace(ask(place, "Really?"), is_background=True)
    begun, _ = await begin(first, gate, bob, asked)
    await grants_of(shelf).revoke(ann, given.id)
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([each.task for each in second.runs.running.values() if each.task])
    assert able.requests == []
    with pytest.raises(AccessRevokedError):
        await read(second.watch(bob, begun, -1))
    gate.open()
    await first.takeover.renew()
    await first.runs.close()
