"""Searching conversations by words.

What is said in them is encrypted, and no index is made of it: they are opened and looked through, the newest first, so
far as one request may go. So there is nothing besides that would have to be erased, and who may read is decided by the
statement that reads, as always.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from undercroft.chat.conversations.access import ConversationAccess
from undercroft.chat.conversations.models import ItemPage, WireItem, parse_item_id
from undercroft.chat.conversations.reading import ItemReader, ReadItem, is_followed
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.searching.repository import SearchingRepository
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.vault.keys.service import KeyRing

_PAGE: Final = 100
_PAGES_EACH: Final = 10
"""How far a conversation is looked through from its end: 1,000 items."""
_PAGES: Final = 50
"""After how many a request looks into no further conversation."""
_MOST_EACH: Final = 5
"""The most items of a conversation that are told."""
_MOST_WORDS: Final = 16
_BEFORE: Final = 80
_LONGEST: Final = 300
"""Characters of an item that are told, and how many before the first of the words."""


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item that has all of the words.

    Attributes:
        excerpt: Of what it says, from around the first word.
    """

    wire: WireItem = field(repr=False)
    excerpt: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FoundConversation:
    """A conversation in which there are such, the newest first."""

    id: UUID
    items: Sequence[FoundItem]


@dataclass(frozen=True, slots=True)
class FoundConversations:
    """What was found, and whether there are conversations that were not looked into.

    Attributes:
        last: The last that was looked into, where there are more.
    """

    conversations: Sequence[FoundConversation]
    last: UUID | None


class ConversationSearch:
    """Looks through conversations.

    Args:
        database: Where they are.
        keys: Open them.
        ledger: Where it is put on record that one was read.
    """

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger) -> None:
        self._database = database
        self._access = ConversationAccess(database, keys, ledger)
        self._reader = ItemReader(keys)
        self._repository = ConversationRepository()
        self._places = SearchingRepository()

    async def search(
        self, scope: Scope, text: str, after: UUID | None, limit: int
    ) -> FoundConversations:
        """The conversations that the principal may read in which an item has all of the words, the newest first.

        Raises:
            InvalidRequestError: When there are no words, or too many.
        """
        words = _patterns(text)
        async with self._database.transaction(scope) as transaction:
            ids = await self._places.list_readable(transaction, after, _PAGES + 1)
        found: list[FoundConversation] = []
        pages, last = 0, None
        for conversation_id in ids:
            if len(found) == limit or pages >= _PAGES:
                return FoundConversations(found, last)
            items, read = await self._look_through(scope, conversation_id, words)
            pages, last = pages + read, conversation_id
            if items:
                found.append(FoundConversation(conversation_id, items))
        return FoundConversations(found, None)

    async def _look_through(
        self, scope: Scope, conversation_id: UUID, words: Sequence[re.Pattern[str]]
    ) -> tuple[list[FoundItem], int]:
        """Those of its newest items that have the words, and how many pages were read; authorised, and on record.

        Somebody else's is on record once it is looked into: that the words are not in it tells something as well.
        """
        found: list[FoundItem] = []
        after: UUID | None = None
        pages, is_on_record = 0, False
        while pages < _PAGES_EACH:
            pages += 1
            async with self._database.transaction(scope) as transaction:
                rows = await self._repository.list_items(
                    transaction, conversation_id, ItemPage(_PAGE + 1, after)
                )
                items = await self._reader.read(transaction, rows)
                matching = await asyncio.to_thread(_matching, items[:_PAGE], words)
                is_told = bool(rows) and (matching or rows[0]["owner_id"] != scope.principal_id)
                if is_told and not is_on_record:
                    await self._access.record(
                        transaction, scope, "conversation.read", conversation_id, rows[0]
                    )
                    is_on_record = True
            found += matching
            if len(found) >= _MOST_EACH or not is_followed(items, _PAGE):
                break
            after = parse_item_id(str(items[:_PAGE][-1].wire["id"]))
        return found[:_MOST_EACH], pages


def _patterns(text: str) -> list[re.Pattern[str]]:
    words = list(dict.fromkeys(text.casefold().split()))
    if not words:
        raise InvalidRequestError("The query is empty: say what to look for.", param="query")
    if len(words) > _MOST_WORDS:
        raise InvalidRequestError(
            f"The query has more than {_MOST_WORDS} words; give those that matter.", param="query"
        )
    return [re.compile(re.escape(word), re.IGNORECASE) for word in words]


def _matching(items: Sequence[ReadItem], words: Sequence[re.Pattern[str]]) -> list[FoundItem]:
    found: list[FoundItem] = []
    for item in items:
        # What somebody may not read of it they may not find it by.
        said = _said(item.wire) if item.is_readable else ""
        places = [match.start() for word in words if (match := word.search(said))]
        if len(places) == len(words):
            begin = max(0, min(places) - _BEFORE)
            found.append(FoundItem(item.wire, said[begin : begin + _LONGEST]))
    return found


def _said(item: WireItem) -> str:
    """What is said in a message; other items say nothing to people."""
    if item["type"] != "message":
        return ""
    content = item["content"]
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content if "text" in part)
