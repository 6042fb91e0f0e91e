"""The text of documents: whole for whoever may read them, in parts for whoever was shared parts, and never any more."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from asyncpg import Record

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import grants_of, share
from tests.shelf import Shelf
from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.retrieval.texts import service
from undercroft.retrieval.texts.errors import NotIndexedError, TextChangedError, TextSealedError
from undercroft.retrieval.texts.models import TextPage, TextPiece, TextPosition
from undercroft.retrieval.texts.repository import TextRepository
from undercroft.sharing.errors import GrantEndedError, NotGrantedError
from undercroft.sharing.models import GrantAction, PageRange, Parts, ResourceKind, Terms
from undercroft.vault.models import DocumentChanges

READ = Terms(frozenset({GrantAction.READ}))
READ_PARTS = Terms(frozenset({GrantAction.READ_PARTS}))
PLAN = """# The mill

## Wheel

The wheel turns slowly.

### Bearings

They are of oak.

## Stones

The stones came from Derby.

# The clock

## Repairs

It was mended twice.

"""
LONG = "# Costs\n\n" + "Each repair of the town clock cost nine pounds and a shilling. " * 90


async def read(
    shelf: Shelf,
    scope: Member,
    document: UUID,
    *,
    after: TextPosition | None = None,
    limit: int = 100,
) -> TextPage:
    return await shelf.texts.read(scope, document, after, limit)


async def read_all(shelf: Shelf, scope: Member, document: UUID, limit: int) -> list[TextPiece]:
    """Page by page."""
    found: list[TextPiece] = []
    page = await read(shelf, scope, document, limit=limit)
    found.extend(page.pieces)
    while page.has_more:
        assert len(page.pieces) == limit
        after = TextPosition(page.version, page.pieces[-1].start)
        page = await read(shelf, scope, document, after=after, limit=limit)
        found.extend(page.pieces)
    return found


def words(pieces: Sequence[TextPiece]) -> list[str]:
    return " ".join(piece.text for piece in pieces).split()


async def put_plan(shelf: Shelf, owner: Member, text: str = PLAN + LONG) -> UUID:
    _, documents = await shelf.fill(owner, {"plan.md": text})
    return documents["plan.md"]


async def reads_on_record(shelf: Shelf, actor: Member) -> list[tuple[object, ...]]:
    async with shelf.database.transaction(actor) as transaction:
        rows = await transaction.fetch(
            "SELECT resource, owner_id, grant_id, version, outcome FROM ledger_pending"
            " WHERE actor_id = $1 AND action = 'document.read' ORDER BY ordinal, id",
            actor.principal_id,
        )
    return [tuple(row) for row in rows]


async def test_an_owner_reads_all_of_it_once_in_its_order(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await put_plan(shelf, ann)
    text = PLAN + LONG
    pieces = (await read(shelf, ann, document)).pieces
    assert words(pieces) == text.split()
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        assert piece.text == text[piece.start : piece.end]
        end = len(text) if following is None else following.start
        assert text[piece.end : end].strip() == ""
    assert [piece.headings for piece in pieces[:4]] == [
        ("The mill", "Wheel"),
        ("The mill", "Wheel", "Bearings"),
        ("The mill", "Stones"),
        ("The clock", "Repairs"),
    ]
    assert len(pieces) > 5
    assert [await read_all(shelf, ann, document, limit) for limit in (1, 2, 100)] == [pieces] * 3


async def test_pages_of_text_do_not_depend_on_how_it_is_read_from_the_database(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    document = await put_plan(shelf, ann)
    whole = (await read(shelf, ann, document)).pieces
    for batch in (1, 2, 3):
        monkeypatch.setattr(service, "_BATCH", batch)
        assert await read_all(shelf, ann, document, 2) == whole


async def test_whoever_may_read_it_does_until_the_grant_ends_and_on_record(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, eve = await make_scope(ann.tenant_id), await make_scope()
    document = await put_plan(shelf, ann)
    given = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, READ)
    own, shared = await read(shelf, ann, document), await read(shelf, bob, document)
    assert words(shared.pieces) == words(own.pieces)
    assert [piece.headings for piece in shared.pieces] == [piece.headings for piece in own.pieces]
    assert {piece.way.grants[0].id for piece in shared.pieces} == {given.id}
    name = render_id("file-", document)
    assert await reads_on_record(shelf, bob) == [(name, ann.principal_id, given.id, 1, "allowed")]
    assert await reads_on_record(shelf, ann) == [(name, ann.principal_id, None, 1, "allowed")]
    await grants_of(shelf).revoke(ann, given.id)
    for other in (bob, eve):
        with pytest.raises(NotFoundError):
            await read(shelf, other, document)
    with pytest.raises(NotFoundError):
        await read(shelf, ann, IdSource().new())
    denied = (name, ann.principal_id, None, None, "denied")
    assert (await reads_on_record(shelf, bob))[1:] == [denied]


async def test_a_shared_collection_is_read_and_its_other_actions_do_not_suffice(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"a.txt": "The bell rings."})
    document = documents["a.txt"]
    await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, READ)
    others = frozenset(GrantAction) - {GrantAction.READ, GrantAction.READ_PARTS}
    await share(shelf, ann, ResourceKind.COLLECTION, collection, cem, Terms(others))
    assert words((await read(shelf, bob, document)).pieces) == ["The", "bell", "rings."]
    with pytest.raises(NotGrantedError):
        await read(shelf, cem, document)
    denied = (render_id("file-", document), ann.principal_id, None, None, "denied")
    assert await reads_on_record(shelf, cem) == [denied]


@pytest.mark.parametrize(
    ("section", "shown", "headings"),
    [
        (
            "Wheel",
            "## Wheel The wheel turns slowly. ### Bearings They are of oak.",
            [("Wheel",), ("Wheel", "Bearings")],
        ),
        ("Bearings", "### Bearings They are of oak.", [("Bearings",)]),
        ("Stones", "## Stones The stones came from Derby.", [("Stones",)]),
        ("Repairs", "## Repairs It was mended twice.", [("Repairs",)]),
        (
            "The clock",
            "# The clock ## Repairs It was mended twice.",
            [("The clock", "Repairs")],
        ),
        ("Nothing of it", "", []),
    ],
)
async def test_of_shared_sections_nothing_else_shows_neither_text_nor_title(
    shelf: Shelf,
    make_scope: MakeScope,
    section: str,
    shown: str,
    headings: list[tuple[str, ...]],
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    terms = replace(READ_PARTS, parts=Parts(sections=(section,)))
    given = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    pieces = (await read(shelf, bob, document)).pieces
    assert words(pieces) == shown.split()
    assert [piece.headings for piece in pieces] == headings
    assert all(piece.text == PLAN[piece.start : piece.end] for piece in pieces)
    assert await read_all(shelf, bob, document, 1) == pieces
    assert {entry[2] for entry in await reads_on_record(shelf, bob)} == {given.id}


async def test_no_line_of_a_title_above_a_shared_section_shows_whatever_markup_is_in_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    text = (
        "# Divorce of [Ann](https://x.example/secret)\n\n## Rent\n\nNine pounds.\n\n"
        "# Case &amp; [cost](https://x.example/secret)\n\n## Rent\n\nTen pounds.\n"
    )
    document = await put_plan(shelf, ann, text)
    terms = replace(READ_PARTS, parts=Parts(sections=("Rent",)))
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    pieces = (await read(shelf, bob, document)).pieces
    assert [piece.text for piece in pieces] == [
        "## Rent\n\nNine pounds.",
        "## Rent\n\nTen pounds.",
    ]
    assert all(piece.text == text[piece.start : piece.end] for piece in pieces)
    assert {piece.headings for piece in pieces} == {("Rent",)}


async def test_an_empty_section_that_is_shared_does_not_show_the_title_of_the_next(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    text = "# Empty\n\n# Dismissal of Quill\n\n## Costs\n\nNine pounds.\n"
    document = await put_plan(shelf, ann, text)
    terms = replace(READ_PARTS, parts=Parts(sections=("Empty",)))
    given = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    assert words((await read(shelf, bob, document)).pieces) == ["#", "Empty"]
    await grants_of(shelf).revoke(ann, given.id)
    # Nor does its title show to whoever was shared the next one, before which it stands.
    terms = replace(READ_PARTS, parts=Parts(sections=("Dismissal of Quill",)))
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    shown = (await read(shelf, bob, document)).pieces
    assert words(shown) == ["#", "Dismissal", "of", "Quill", "##", "Costs", "Nine", "pounds."]


async def test_titles_beside_a_shared_section_do_not_show(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann, "# Dismissal of Quill\n\n# Stones\n\nFrom Derby.\n")
    terms = replace(READ_PARTS, parts=Parts(sections=("Stones",)))
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    assert words((await read(shelf, bob, document)).pieces) == ["#", "Stones", "From", "Derby."]


async def test_sections_of_two_grants_add_up_and_both_are_on_record(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    given = [
        await share(
            shelf,
            ann,
            ResourceKind.DOCUMENT,
            document,
            bob,
            replace(READ_PARTS, parts=Parts(sections=(section,))),
        )
        for section in ("Stones", "Repairs")
    ]
    pieces = (await read(shelf, bob, document)).pieces
    assert [piece.way.grants[0].id for piece in pieces] == [grant.id for grant in given]
    on_record = {entry[2] for entry in await reads_on_record(shelf, bob)}
    assert on_record == {grant.id for grant in given}


async def test_a_piece_that_runs_onto_a_page_that_is_not_shared_does_not_show(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    # As a parser of pages would have placed them: every other chunk runs over onto the next page.
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE chunks SET page_start = ordinal + 1, page_end = ordinal + 1 + ordinal % 2"
        )
    own = (await read(shelf, ann, document)).pieces
    parts = Parts((PageRange(1, 2), PageRange(4, 5)))
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, replace(READ_PARTS, parts=parts))
    pieces = (await read(shelf, bob, document)).pieces
    wanted = [
        piece for piece in own if (piece.page_start, piece.page_end) in {(1, 1), (4, 5), (5, 5)}
    ]
    assert {piece.page_start for piece in own} >= {1, 2, 3, 4}
    assert [piece.text for piece in pieces] == [piece.text for piece in wanted] != []
    # Where the titles above a page stand is not known: it may be on another page.
    assert {piece.headings for piece in pieces} == {()}


async def test_parts_are_no_download(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    terms = replace(READ_PARTS, parts=Parts(sections=("Stones",)))
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    with pytest.raises(NotGrantedError):
        await shelf.documents.read(bob, document)
    with pytest.raises(NotGrantedError):
        await shelf.versions.read(bob, document, None, lambda _: (0, 1))
    assert [entry[-1] for entry in await reads_on_record(shelf, bob)] == ["denied"] * 2


async def test_an_answer_with_text_is_one_use_and_one_without_is_none(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    terms = replace(READ_PARTS, parts=Parts(sections=("Wheel",)), max_uses=2)
    given = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)
    end = (await read(shelf, ann, document)).pieces[-1].start
    assert (await read(shelf, bob, document, after=TextPosition(1, end))).pieces == []
    for used in (0, 1):
        assert (await grants_of(shelf).get(ann, given.id)).uses == used
        assert len((await read(shelf, bob, document, limit=1)).pieces) == 1
    with pytest.raises(NotFoundError):
        await read(shelf, bob, document)


async def test_of_two_who_want_the_last_use_one_gets_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    given = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, replace(READ, max_uses=1))
    outcomes = await asyncio.gather(
        *(read(shelf, bob, document) for _ in range(4)), return_exceptions=True
    )
    pages = [outcome for outcome in outcomes if isinstance(outcome, TextPage)]
    assert len(pages) == 1
    refused = [outcome for outcome in outcomes if not isinstance(outcome, TextPage)]
    assert all(isinstance(error, GrantEndedError | NotFoundError) for error in refused)
    assert (await grants_of(shelf).get(ann, given.id)).uses == 1


async def test_what_is_not_indexed_says_so_and_what_is_sealed_is_never_read(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, eve = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    document = await shelf.put(ann, "a.txt", "The bell rings.")
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, READ)
    for reader in (ann, bob):
        with pytest.raises(NotIndexedError, match="adds it to a vector store"):
            await read(shelf, reader, document)
    await shelf.collections.create(ann, "papers", {}, [document])
    with pytest.raises(NotIndexedError, match="try again"):
        await read(shelf, bob, document)
    await shelf.run_jobs(ann)
    assert len((await read(shelf, bob, document)).pieces) == 1
    # Another document of the same content keeps it indexed.
    same = await shelf.put(ann, "b.txt", "The bell rings.")
    await shelf.collections.create(ann, "others", {}, [same])
    await shelf.documents.update(ann, document, DocumentChanges(None, None, True), None)
    for reader in (ann, bob):
        with pytest.raises(TextSealedError):
            await read(shelf, reader, document)
    assert len((await read(shelf, ann, same)).pieces) == 1
    with pytest.raises(NotFoundError):
        await read(shelf, eve, document)


async def test_what_cannot_be_read_or_holds_nothing_says_so(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    _, documents = await shelf.fill(ann, {"a.pdf": "%PDF-1.4 broken", "b.txt": "\n"})
    with pytest.raises(NotIndexedError, match="No text could be extracted"):
        await read(shelf, ann, documents["a.pdf"])
    with pytest.raises(NotIndexedError):
        await read(shelf, ann, documents["b.txt"])


async def test_pages_are_of_one_version(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, READ)
    page = await read(shelf, bob, document, limit=1)
    after = TextPosition(page.version, page.pieces[-1].start)
    await shelf.put_version(ann, document, "Another text. " * 300)
    await shelf.run_jobs(ann)
    with pytest.raises(TextChangedError):
        await read(shelf, bob, document, after=after)
    page = await read(shelf, bob, document)
    assert (page.version, words(page.pieces)[:2]) == (2, ["Another", "text."])


@pytest.mark.parametrize("change", ["revoked", "version", "trash"])
async def test_each_statement_authorises_what_it_reads(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document = await put_plan(shelf, ann)
    given = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, READ)
    monkeypatch.setattr(service, "_BATCH", 1)
    list_chunks = TextRepository.list_chunks

    async def list_and_change(
        self: TextRepository,
        transaction: Transaction,
        document_id: UUID,
        actions: Sequence[GrantAction],
        after: int,
        limit: int,
        page: int | None = None,
    ) -> list[Record]:
        rows = await list_chunks(self, transaction, document_id, actions, after, limit, page)
        monkeypatch.setattr(TextRepository, "list_chunks", list_chunks)
        if change == "revoked":
            await grants_of(shelf).revoke(ann, given.id)
        elif change == "version":
            await shelf.put_version(ann, document, PLAN + LONG + "More.")
        else:
            async with shelf.database.transaction(ann) as other:
                await other.execute(
                    "UPDATE documents SET deleted_at = now(), purge_at = now() WHERE id = $1",
                    document,
                )
        return rows

    monkeypatch.setattr(TextRepository, "list_chunks", list_and_change)
    with pytest.raises((NotFoundError, NotIndexedError, TextChangedError)):
        await read(shelf, bob, document)
    assert [entry[-1] for entry in await reads_on_record(shelf, bob)] == ["denied"]
