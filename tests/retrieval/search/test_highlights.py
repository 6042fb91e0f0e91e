"""Where the words stand that were asked for: as the dictionaries of languages know them, in code points."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.kit.database import Database
from undercroft.retrieval.search.highlights import (
    find_beginnings,
    find_unspaced,
    join_spans,
    markable,
    read_marks,
)
from undercroft.retrieval.search.marking import words_of
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.repository import SearchRepository

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=8)


async def highlighted(shelf: Shelf, scope: Member, collection: UUID, text: str) -> list[str]:
    """What is highlighted in the best passage, cut out of the document's text."""
    query = SearchQuery((collection,), text, 1, is_typed=True, is_highlighted=True)
    (passage,) = (await shelf.search.search(scope, query)).passages
    return [
        passage.text[start - passage.start : end - passage.start]
        for start, end in passage.highlights
    ]


DOCUMENTS = {
    "english.txt": "The tenants are paying deposits. Payment of a deposit, as paid by <b>tenants</b> & others.",
    "german.txt": "Die Mieter zahlen ihre Kautionen, bevor die Schlüssel der Häuser übergeben werden.",
    "accents.txt": "The e\u0301lan of the cafe\u0301 \U0001f3e0 impressed the naïve visitors. INV-2024/0031 is unpaid.",
    "japanese.txt": "借主は鍵を受け取る前に、家賃二か月分の敷金を支払います。",
    "code.txt": "if a<b: microphones hum; call foo_bar.baz(1), says the manual of 'it''s \\ fine'.",
}
MARKED = [
    ("tenant deposit pay", ["tenants", "paying deposits", "deposit", "tenants"]),
    ('"deposit paid" tenants', ["tenants", "deposits", "deposit", "paid", "tenants"]),
    ("Kaution zahlen Haus", ["zahlen", "Kautionen", "Häuser"]),
    ("impressing visitors INV-2024/0031", ["impressed", "visitors", "INV-2024/0031"]),
    ("cafe\u0301 visitors", ["cafe\u0301", "visitors"]),
    ("敷金はいくら", ["敷金"]),
    ("家賃二か月", ["家賃二か月"]),
    ("micro* manual", ["microphones", "manual"]),
    ("foo_bar.baz() manual", ["foo_bar.baz", "manual"]),
]


async def test_highlights_are_the_words_that_the_dictionary_takes_for_the_same(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, DOCUMENTS)
    for text, expected in MARKED:
        assert await highlighted(shelf, ann, collection, text) == expected, text


async def test_offsets_are_of_the_documents_text_wherever_the_passage_begins(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    filler = "\n\n".join(f"Paragraph {n} tells of nothing. \U0001f3e0 " * 8 for n in range(30))
    collection, _ = await shelf.fill(ann, {"long.txt": f"{filler}\n\nThe zeppelin lands.\n"})
    query = SearchQuery((collection,), "zeppelins", 1, is_typed=True, is_highlighted=True)
    (passage,) = (await shelf.search.search(ann, query)).passages
    ((start, end),) = passage.highlights
    assert passage.start > 100
    assert f"{filler}\n\nThe zeppelin lands.\n"[start:end] == "zeppelin"


@pytest.mark.parametrize(
    ("text", "marked", "spans"),
    [
        ("a bc d", "a \x01bc\x02 d", [(2, 4)]),
        ("a bc d", "a bc d", []),
        ("a <b> c", "a   \x01c\x02", []),
        ("", "", []),
    ],
)
def test_marks_count_where_the_text_came_back_whole(
    text: str, marked: str, spans: list[tuple[int, int]]
) -> None:
    assert read_marks(text, marked) == spans


def test_beginnings_and_pairs_are_found() -> None:
    assert find_beginnings("Electric electorate, un-electric", "electri") == [(0, 8), (24, 32)]
    assert find_beginnings("a.b a.bc", "a.b") == [(0, 3), (4, 8)]
    assert find_unspaced("東京都の都", "京都") == [(1, 3)]
    assert find_unspaced("東京都", "東京都") == [(0, 2), (1, 3)]
    assert find_unspaced("abc", "京都") == []
    assert words_of("what of 東京都, (what)?") == ["what", "of", "東京", "京都"]


@given(st.text("ab \u0301\u0300", max_size=30), SPANS)
def test_spans_are_joined_in_order_and_cut_no_character(
    text: str, drawn: list[tuple[int, int]]
) -> None:
    inside = [(min(at, len(text)), min(at + size, len(text))) for at, size in drawn]
    spans = [(start, end) for start, end in inside if start < end]
    joined = join_spans(text, spans)
    for start, end in joined:
        assert start == 0 or text[start] not in "\u0301\u0300"
        assert end == len(text) or text[end] not in "\u0301\u0300"
    assert all(before[1] < after[0] for before, after in pairwise(joined))
    covered = {at for start, end in joined for at in range(start, end)}
    assert covered >= {at for start, end in spans for at in range(start, end)}
    assert len(join_spans("ab " * 300, [(3 * n, 3 * n + 1) for n in range(300)])) == 50


async def test_what_has_none_of_the_words_is_neither_marked_nor_sent_back(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, DOCUMENTS)
    passages = (await shelf.search.search(ann, SearchQuery((collection,), "Mieter", 5))).passages
    async with shelf.database.transaction(ann) as transaction:
        rows = await SearchRepository().mark_passages(
            transaction, passages, [passage.text for passage in passages], ["Mieter", "the"]
        )
    filenames = {passage.chunk_id: passage.filename for passage in passages}
    marked = {filenames[row["chunk_id"]]: row["marked"] for row in rows}
    assert len(marked) == len(DOCUMENTS)
    german = DOCUMENTS["german.txt"].replace("Mieter", "\x01Mieter\x02")
    assert {name: text for name, text in marked.items() if text} == {"german.txt": german}


async def test_the_database_gives_every_text_back_as_long_as_it_was(
    database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    odd = [
        "<a href='x'>y</a> &amp; <!-- z --> <?xml?>",
        "http://user:pass@example.org:80/a?b=c#d ann@example.org v1.2.3 -5e-3 /usr/bin",
        "state-of-the-art über-älter 1st-class a-1-b _x_ __init__.py",
        "e\u0301 \u200d \u00ad \U0001f468\u200d\U0001f469 \u202e abc \ufeff\t\r\n x",
        "'quoted' \"double\" \\ back $$ %s ;-- \x01 \x02 \x7f",
        "借主は鍵 สวัสดี ผู้เช่า हिन्दी किरायेदार",
    ]
    async with database.transaction(ann) as transaction:
        for text in odd:
            marked = await transaction.fetchval(
                "SELECT ts_headline('english', $1, 'x|abc|art',"
                ' E\'HighlightAll=true, StartSel="\\x01", StopSel="\\x02"\')',
                markable(text),
            )
            assert marked.replace("\x01", "").replace("\x02", "") == markable(text)
            assert len(markable(text)) == len(text)
