"""Conversations of Ann's, in a tenant with Bob."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from undercroft.chat.conversations.models import Conversation, ItemPage, NewItem
from undercroft.chat.conversations.reading import ReadItem
from undercroft.chat.conversations.service import ConversationService
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    ResourceKind,
    Terms,
)
from undercroft.sharing.service import GrantService
from undercroft.vault.keys.service import KeyRing


def said(text: str) -> NewItem:
    """A user's turn."""
    content = [{"type": "input_text", "text": text}]
    return NewItem("message", {"role": "user", "status": "completed", "content": content})


def text_of(item: ReadItem) -> str:
    return str(item.wire["content"][0]["text"])


@dataclass(frozen=True, slots=True)
class Parlour:
    """Where people talk."""

    database: Database
    keys: KeyRing
    conversations: ConversationService
    grants: GrantService
    ann: Member
    bob: Member

    async def begin(self, *texts: str) -> Conversation:
        return await self.conversations.create(self.ann, {"room": "blue"}, list(map(said, texts)))

    async def read(self, scope: Member, conversation_id: UUID) -> list[str]:
        page = ItemPage(100, is_ascending=True)
        items = await self.conversations.list_items(scope, conversation_id, page)
        return list(map(text_of, items))

    async def share(self, conversation_id: UUID, *actions: GrantAction) -> Grant:
        return await self.grants.create(
            self.ann,
            Resource(ResourceKind.CONVERSATION, conversation_id),
            Grantee(GranteeKind.USER, self.bob.principal_id),
            Terms(frozenset(actions)),
        )

    async def numbers(self, conversation_id: UUID) -> list[int]:
        async with self.database.transaction(self.ann) as transaction:
            rows = await transaction.fetch(
                "SELECT number FROM conversation_items WHERE conversation_id = $1 ORDER BY number",
                conversation_id,
            )
        return [row["number"] for row in rows]

    def other(self, database: Database | None = None) -> ConversationService:
        """Another process's."""
        return make_conversations(database or self.database, self.keys)


def make_conversations(database: Database, keys: KeyRing) -> ConversationService:
    ids = IdSource()
    return ConversationService(database, keys, Ledger(database, ids, SystemClock()), ids)


@pytest.fixture
async def parlour(database: Database, tmp_path: Path, make_scope: MakeScope) -> Parlour:
    clock, ids = SystemClock(), IdSource()
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), ids)
    ledger = Ledger(database, ids, clock)
    people = IdentityService(database, ledger, ids, clock)
    ann = await make_scope()
    return Parlour(
        database,
        keys,
        make_conversations(database, keys),
        GrantService(database, ledger, ids, people),
        ann,
        await make_scope(ann.tenant_id),
    )
