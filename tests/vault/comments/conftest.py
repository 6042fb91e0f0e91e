"""A document of Ann's that is commented on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.vault.test_sharing import Room, make_room
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.vault.comments.models import Comment
from undercroft.vault.comments.service import CommentService

_FILL: Final = (
    "INSERT INTO document_comments (id, tenant_id, document_id, document_version, author_id, sealed_text)"
    " SELECT gen_random_uuid(), current_tenant(), $1, 1, current_principal(), ''"
    " FROM generate_series(1, $2::int)"
)


@dataclass(frozen=True, slots=True)
class Margin:
    """Where Ann's document is commented on."""

    room: Room
    comments: CommentService

    async def write(self, scope: Member, text: str = "Is it so?") -> Comment:
        return await self.comments.create(scope, self.room.document_id, text)

    async def read(self, scope: Member) -> list[str]:
        shown = await self.comments.list_comments(scope, self.room.document_id, limit=100)
        return [comment.text for comment in shown]

    async def delete(self, scope: Member, comment_id: UUID) -> None:
        await self.comments.delete(scope, self.room.document_id, comment_id)

    async def fill(self, count: int) -> None:
        async with self.room.database.transaction(self.room.ann) as transaction:
            await transaction.execute(_FILL, self.room.document_id, count)

    async def count(self) -> int:
        async with self.room.database.transaction(self.room.ann) as transaction:
            return int(await transaction.fetchval("SELECT count(*) FROM document_comments"))


def make_comments(database: Database, room: Room) -> CommentService:
    ids = IdSource()
    ledger = Ledger(database, ids, SystemClock())
    return CommentService(database, room.documents._keys, ledger, ids)


@pytest.fixture
async def margin(database: Database, tmp_path: Path, make_scope: MakeScope) -> Margin:
    room = await make_room(database, tmp_path, make_scope)
    return Margin(room, make_comments(database, room))
