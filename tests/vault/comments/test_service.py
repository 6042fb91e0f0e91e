"""Comments: who writes, sees and deletes them, what goes on record, and that they go with their document."""

import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

import pytest

from tests.conftest import MakeScope
from tests.vault.comments.conftest import Margin
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction
from undercroft.vault.comments.errors import NotAuthorError, TooManyCommentsError
from undercroft.vault.comments.models import MOST_COMMENTS
from undercroft.vault.comments.repository import CommentRepository
from undercroft.vault.errors import LegalHoldError
from undercroft.vault.holds import LegalHolds
from undercroft.vault.models import DocumentChanges

READ: Final = GrantAction.READ
COMMENT: Final = GrantAction.COMMENT
SEE: Final = frozenset({READ, COMMENT})


async def test_owner_and_commenter_write_and_both_see_all_in_order(margin: Margin) -> None:
    ann, bob = margin.room.ann, margin.room.bob
    await margin.room.share(COMMENT)
    texts = ["Is it so?", "It is. \N{SNOWMAN}", "a" * 4000, "\N{SNOWMAN WITHOUT SNOW}" * 4000]
    written = [await margin.write((ann, bob)[n % 2], text) for n, text in enumerate(texts)]
    assert [comment.author_id for comment in written] == [
        member.principal_id for member in (ann, bob, ann, bob)
    ]
    assert {comment.version for comment in written} == {2}
    assert await margin.read(ann) == await margin.read(bob) == texts
    document_id = margin.room.document_id
    first = await margin.comments.list_comments(bob, document_id, limit=2)
    rest = await margin.comments.list_comments(bob, document_id, after=first[-1].id, limit=9)
    assert first + rest == written


async def test_of_no_comments_there_is_a_page_without_any(margin: Margin) -> None:
    assert await margin.read(margin.room.ann) == []
    comment = await margin.write(margin.room.ann)
    after = await margin.comments.list_comments(
        margin.room.ann, margin.room.document_id, after=comment.id, limit=9
    )
    assert after == []


OPERATIONS: Final[dict[str, tuple[Callable[[Margin, UUID], Awaitable[object]], frozenset[str]]]] = {
    "write": (lambda m, _: m.write(m.room.bob), frozenset({COMMENT})),
    "read": (lambda m, _: m.read(m.room.bob), SEE),
    "delete the owner's": (lambda m, theirs: m.delete(m.room.bob, theirs), frozenset()),
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_exactly_its_actions_allow_it(margin: Margin, name: str) -> None:
    operation, allowing = OPERATIONS[name]
    theirs = (await margin.write(margin.room.ann)).id
    with pytest.raises(NotFoundError, match="No file"):
        await operation(margin, theirs)
    for action in GrantAction:
        grant = await margin.room.share(action)
        if action in allowing:
            await operation(margin, theirs)
        else:
            is_seen = not allowing and action in SEE
            with pytest.raises(NotAuthorError if is_seen else NotGrantedError):
                await operation(margin, theirs)
        await margin.room.grants.revoke(margin.room.ann, grant.id)
        with pytest.raises(NotFoundError, match="No file"):
            await operation(margin, theirs)


async def test_authors_delete_their_own_while_they_see_the_document_and_the_owner_any(
    margin: Margin,
) -> None:
    room = margin.room
    grant = await room.share(COMMENT)
    first, second, third = [await margin.write(room.bob, text) for text in "abc"]
    await margin.delete(room.bob, first.id)
    await room.grants.revoke(room.ann, grant.id)
    with pytest.raises(NotFoundError):
        await margin.delete(room.bob, second.id)
    await room.share(GrantAction.SEARCH)
    await margin.delete(room.bob, second.id)
    await margin.delete(room.ann, third.id)
    assert await margin.count() == 0


async def test_whether_there_is_a_comment_is_told_to_readers_alone(
    margin: Margin, make_scope: MakeScope
) -> None:
    room = margin.room
    theirs, absent = (await margin.write(room.ann)).id, IdSource().new()
    for comment_id in (theirs, absent):
        with pytest.raises(NotFoundError, match="No file"):
            await margin.delete(await make_scope(), comment_id)
    grant = await room.share(GrantAction.SEARCH)
    for comment_id in (theirs, absent):
        with pytest.raises(NotGrantedError):
            await margin.delete(room.bob, comment_id)
    await room.grants.revoke(room.ann, grant.id)
    await room.share(READ)
    with pytest.raises(NotAuthorError):
        await margin.delete(room.bob, theirs)
    with pytest.raises(NotFoundError, match="No comment"):
        await margin.delete(room.bob, absent)


async def test_a_comment_is_deleted_on_its_own_document_alone(margin: Margin) -> None:
    room = margin.room
    other = await room.documents.import_file(room.ann, io.BytesIO(b"Other."), "a.txt", "user_data")
    comment = await margin.write(room.ann)
    with pytest.raises(NotFoundError, match="No comment"):
        await margin.comments.delete(room.ann, other.id, comment.id)
    assert await margin.read(room.ann) == ["Is it so?"]


async def test_the_statements_themselves_refuse(margin: Margin) -> None:
    """Also where nothing has looked before."""
    room, repository = margin.room, CommentRepository()
    await room.share(*SEE - {COMMENT})
    comment_id = (await margin.write(room.ann)).id
    async with room.database.transaction(room.bob) as transaction:
        place = (transaction, room.document_id)
        assert await repository.find_room(*place) is None
        assert await repository.insert_comment(*place, IdSource().new(), None, b"") is None
        assert await repository.list_comments(*place, [COMMENT], None, 9) == []
        assert await repository.delete_comment(*place, comment_id, [COMMENT]) is None
        assert not await repository.find_comment(*place, comment_id, [COMMENT])
        assert await repository.find_comment(*place, comment_id, [READ])


async def test_earlier_versions_are_for_their_owner_to_comment_on(margin: Margin) -> None:
    ann, bob, document_id = margin.room.ann, margin.room.bob, margin.room.document_id
    await margin.room.share(COMMENT, READ)
    assert (await margin.comments.create(ann, document_id, "a", 1)).version == 1
    assert (await margin.comments.create(bob, document_id, "a", 2)).version == 2
    for scope, version in ((bob, 1), (bob, 3), (ann, 3)):
        with pytest.raises(NotFoundError, match=f"version {version}"):
            await margin.comments.create(scope, document_id, "a", version)


async def test_each_is_on_record_with_its_grant_and_purpose(margin: Margin) -> None:
    room = margin.room
    grant = await room.share(COMMENT, purpose="audit", max_uses=1)
    bob = replace(room.bob, purpose="audit")
    await margin.write(bob)
    comment = await margin.write(bob)  # a comment is no use of a grant
    assert len(await margin.read(bob)) == 2
    await margin.delete(bob, comment.id)
    theirs = await margin.write(room.ann)
    with pytest.raises(NotAuthorError):
        await margin.delete(bob, theirs.id)
    people = (room.bob.principal_id, room.ann.principal_id)
    assert await room.acts() == [
        ("comment.create", "allowed", *people, grant.id, "audit"),
        ("comment.create", "allowed", *people, grant.id, "audit"),
        ("comment.read", "allowed", *people, grant.id, "audit"),
        ("comment.delete", "allowed", *people, grant.id, "audit"),
        ("comment.delete", "denied", *people, None, None),
    ]


async def test_a_sealed_document_is_commented_on(margin: Margin) -> None:
    room = margin.room
    await room.documents.update(room.ann, room.document_id, DocumentChanges(is_sealed=True), None)
    await margin.write(room.ann)
    assert await margin.read(room.ann) == ["Is it so?"]


async def test_comments_go_with_their_document_and_not_before_it(margin: Margin) -> None:
    room = margin.room
    await room.share(COMMENT)
    await margin.write(room.bob)
    await room.trash.put(room.ann, room.document_id)
    for scope in (room.ann, room.bob):
        with pytest.raises(NotFoundError):
            await margin.read(scope)
        with pytest.raises(NotFoundError):
            await margin.write(scope)
    await room.trash.restore(room.ann, room.document_id)
    assert await margin.read(room.ann) == ["Is it so?"]
    await room.documents.delete(room.ann, room.document_id)
    assert await margin.count() == 0


async def test_under_a_hold_nobody_deletes_a_comment(margin: Margin) -> None:
    room = margin.room
    comment = await margin.write(room.ann)
    holds = LegalHolds(room.database, Ledger(room.database, IdSource(), SystemClock()))
    await holds.place(room.ann, room.document_id, "litigation")
    with pytest.raises(LegalHoldError):
        await margin.delete(room.ann, comment.id)
    await holds.lift(room.ann, room.document_id)
    await margin.delete(room.ann, comment.id)


async def test_what_is_kept_is_sealed_in_its_place(margin: Margin) -> None:
    room = margin.room
    for text in ("The first remark", "The other remark"):
        await margin.write(room.ann, text)
    async with room.database.transaction(room.ann) as transaction:
        rows = await transaction.fetch("SELECT id, sealed_text FROM document_comments ORDER BY id")
        assert not any(b"remark" in row["sealed_text"] for row in rows)
        await transaction.execute("DELETE FROM document_comments WHERE id = $1", rows[1]["id"])
        await transaction.execute(
            "INSERT INTO document_comments (id, tenant_id, document_id, document_version, author_id, sealed_text)"
            " VALUES ($1, current_tenant(), $2, 1, current_principal(), $3)",
            rows[1]["id"],
            room.document_id,
            rows[0]["sealed_text"],
        )
    with pytest.raises(DecryptionError):
        await margin.read(room.ann)


async def test_there_are_no_more_than_a_document_may_have(margin: Margin) -> None:
    await margin.fill(MOST_COMMENTS - 1)
    comment = await margin.write(margin.room.ann)
    with pytest.raises(TooManyCommentsError):
        await margin.write(margin.room.ann)
    await margin.delete(margin.room.ann, comment.id)
    await margin.write(margin.room.ann)
