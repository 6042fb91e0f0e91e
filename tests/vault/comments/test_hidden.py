"""A document that is hidden reads as one that is absent, after the same statements."""

from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import Member, scope_maker
from tests.ledger.test_denials import OverheardDatabase
from tests.vault.comments.conftest import Margin, make_comments
from tests.vault.test_sharing import make_room
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls


@pytest.fixture
async def overheard(database_urls: DatabaseUrls) -> AsyncGenerator[OverheardDatabase]:
    async with OverheardDatabase(database_urls.service) as opened:
        yield opened


async def attempt(
    margin: Margin, scope: Member, what: str, document_id: UUID, comment_id: UUID
) -> None:
    if what == "write":
        await margin.comments.create(scope, document_id, "a")
    elif what == "read":
        await margin.comments.list_comments(scope, document_id, limit=9)
    else:
        await margin.comments.delete(scope, document_id, comment_id)


@pytest.mark.parametrize("what", ["write", "read", "delete"])
async def test_what_is_hidden_takes_the_statements_of_what_is_absent(
    overheard: OverheardDatabase, tmp_path: Path, what: str
) -> None:
    make_scope = scope_maker(overheard)
    room = await make_room(overheard, tmp_path, make_scope)
    margin = Margin(room, make_comments(overheard, room))
    comment_id = (await margin.write(room.ann)).id
    stranger = await make_scope(room.ann.tenant_id)
    absent = IdSource().new()
    heard: list[list[str]] = []
    messages: set[str] = set()
    # The first time fills what is cached of the log.
    for document_id in (room.document_id, room.document_id, absent):
        overheard.heard.clear()
        with pytest.raises(NotFoundError) as refused:
            await attempt(margin, stranger, what, document_id, comment_id)
        heard.append(list(overheard.heard))
        messages.add(refused.value.message.replace(document_id.hex, "ID"))
    assert len(messages) == 1
    assert heard[1]
    assert heard[2] == heard[1]
