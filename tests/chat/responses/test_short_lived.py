"""What is kept for a day alone goes after it, with its key, its events and what was answered under the client's key."""

from dataclasses import replace

import pytest

from tests.chat.responses.test_chain import ask
from tests.chat.responses.test_once import count, made_under, once
from tests.chat.responses.test_sources import ANSWER, RENT, id_of, request, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.owner import past_policies
from tests.shelf import Shelf
from undercroft.chat.responses import short_lived as short_lived_responses
from undercroft.chat.responses.short_lived import ShortLivedResponses
from undercroft.idempotency.errors import AnswerErasedError
from undercroft.kit.errors import NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls


async def test_what_was_kept_for_a_day_is_gone_after_it_and_nothing_else(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann, eve = await make_scope(), await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    responses = service(shelf, ScriptedModel(*ANSWER))
    passing = await responses.create(
        ann, replace(request(collection), is_short_lived=True), once(shelf, ann)
    )
    kept = await responses.create(ann, ask("Is it?"))
    theirs = await responses.create(eve, replace(ask("Is it?"), is_short_lived=True))
    forgetting = ShortLivedResponses(shelf.database)
    assert await forgetting.forget() == 0
    async with past_policies(database_urls, "responses") as owner:
        await owner.execute("UPDATE responses SET expires_at = now() WHERE id = $1", id_of(passing))
    assert await forgetting.forget() == 1
    assert await forgetting.forget() == 0
    with pytest.raises(NotFoundError):
        await responses.get(ann, id_of(passing))
    assert (await responses.get(ann, id_of(kept)))["id"] == kept["id"]
    assert (await responses.get(eve, id_of(theirs)))["id"] == theirs["id"]
    # The client's key is known still, so that a late retry makes nothing anew.
    with pytest.raises(AnswerErasedError):
        await made_under(shelf, ann)
    assert await count(shelf, ann) == 1
    async with past_policies(database_urls, "response_streams") as owner:
        streams = await owner.fetch("SELECT response_id FROM response_streams")
    assert {row["response_id"] for row in streams} == {id_of(kept), id_of(theirs)}


async def test_one_round_forgets_however_many_there_are(
    shelf: Shelf,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A round every ten minutes of one batch each would leave more behind each day than it deletes."""
    monkeypatch.setattr(short_lived_responses, "_BATCH", 1)
    ann = await make_scope()
    responses = service(shelf, ScriptedModel(*ANSWER))
    for _ in range(3):
        await responses.create(ann, replace(ask("Is it?"), is_short_lived=True))
    async with past_policies(database_urls, "responses") as owner:
        await owner.execute("UPDATE responses SET expires_at = now()")
    assert await ShortLivedResponses(shelf.database).forget() == 3
    assert await count(shelf, ann) == 0
