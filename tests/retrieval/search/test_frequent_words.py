"""How often others use a word says nothing to whoever may search few passages: they find by it all the same."""

from dataclasses import replace

import pytest

from tests.conftest import MakeScope
from tests.retrieval.search.test_fallback import WORDS
from tests.retrieval.search.test_spelling_reach import reply
from tests.shelf import Shelf
from undercroft.retrieval.search.effort import EFFORTS, Effort
from undercroft.retrieval.search.models import Quality, SearchQuery


async def test_a_word_that_is_frequent_elsewhere_finds_as_if_it_were_not(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {**EFFORTS, Quality.BALANCED: Effort(ranked=5, compared=5, reach=3)}
    monkeypatch.setattr("undercroft.retrieval.search.effort.EFFORTS", few)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    await shelf.fill(
        ann,
        {
            "zeppelin.txt": "A zeppelin, and one more zeppelin.",
            "harbour.txt": "Barges carry grain to the harbour, and go back empty.",
        },
    )
    query = SearchQuery((), "zeppelin harbour", 5, WORDS, is_everywhere=True, is_typed=True)
    before = await reply(shelf, ann, query)
    assert len(before.passages) == 2
    await shelf.fill(bob, {f"{n}.txt": f"Ship {n} is in the harbour." for n in range(9)})
    assert await reply(shelf, ann, query) == before
    # Whoever may search more than are ranked finds by the rarest words.
    frequent = replace(query, text="ship harbour 1")
    assert len((await reply(shelf, bob, frequent)).passages) < 5
