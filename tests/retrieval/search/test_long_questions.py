"""A question may be as long as a request: it is searched for by its beginning and its end."""

import pytest

from tests.conftest import MakeScope
from tests.shelf import Shelf
from undercroft.retrieval.search.models import Leg, SearchQuery

LEASE = "The deposit is two months of rent, and is paid before the keys are handed over."
# Each word another: more of them than a tsvector takes.
PASTED = " ".join(f"x{number:x}q" for number in range(140_000))


@pytest.mark.parametrize(
    "question",
    [f"Deposit? {PASTED}", f"{PASTED} How much is the deposit?"],
    ids=["asked first", "asked last"],
)
async def test_a_question_of_a_megabyte_is_answered(
    shelf: Shelf, make_scope: MakeScope, question: str
) -> None:
    ann = await make_scope()
    collection_id, documents = await shelf.fill(ann, {"lease.txt": LEASE})
    query = SearchQuery((collection_id,), question, 3, frozenset({Leg.LEXICAL}))
    found = await shelf.search.search(ann, query)
    assert [it.document_id for it in found.passages] == [documents["lease.txt"]]


async def test_no_more_of_it_is_taken_apart_than_some_pages(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection_id, _ = await shelf.fill(ann, {"lease.txt": LEASE})
    middle = "x " * 10_000
    query = SearchQuery((collection_id,), f"{middle} deposit {middle}", 3, frozenset({Leg.LEXICAL}))
    assert not (await shelf.search.search(ann, query)).passages
