"""The conversations' statements, one method each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.chat.conversations.models import IfBusy, ItemPage, Source
from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.models import GrantAction

_QUERIES: Final = load_queries("undercroft.chat.conversations")


class ConversationRepository:
    """Reads and writes conversations and their items, encrypted as they are."""

    async def insert_conversation(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        data_key_id: UUID,
        sealed: bytes,
        if_busy: IfBusy,
        reference: UUID | None = None,
    ) -> datetime | None:
        """Keep a conversation of the caller's; since when there is one. None where another has its reference."""
        return cast(
            "datetime | None",
            await _QUERIES.value(
                transaction,
                "insert_conversation",
                conversation_id,
                data_key_id,
                sealed,
                if_busy,
                reference,
            ),
        )

    async def lock_conversation(
        self, transaction: Transaction, conversation_id: UUID, actions: Sequence[GrantAction]
    ) -> bool:
        """Keep others from adding items; whether the caller comes to it by one of the actions."""
        row = await _QUERIES.maybe(transaction, "lock_conversation", conversation_id, list(actions))
        return row is not None

    async def find_conversation(
        self, transaction: Transaction, conversation_id: UUID, actions: Sequence[GrantAction]
    ) -> Record | None:
        """A conversation that the caller comes to by one of the actions, with its key."""
        return await _QUERIES.maybe(
            transaction, "find_conversation", conversation_id, list(actions)
        )

    async def find_way_in(
        self, transaction: Transaction, conversation_id: UUID, actions: Sequence[GrantAction]
    ) -> GrantAction | None:
        """The first of the actions by which the caller comes to another's conversation."""
        action = await _QUERIES.value(transaction, "find_way_in", conversation_id, list(actions))
        return None if action is None else GrantAction(action)

    async def find_conversation_owner(
        self, transaction: Transaction, conversation_id: UUID
    ) -> Record | None:
        """The owner and the salt of a conversation, whoever's of the tenant it is."""
        return await _QUERIES.maybe(transaction, "find_conversation_owner", conversation_id)

    async def update_conversation(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        sealed: bytes,
        if_busy: IfBusy | None,
    ) -> None:
        """Replace the metadata of a conversation that the caller has locked, and the rest of it that is given."""
        await _QUERIES.execute(transaction, "update_conversation", conversation_id, sealed, if_busy)

    async def delete_conversation(self, transaction: Transaction, conversation_id: UUID) -> bool:
        """Delete a conversation of the caller's, with its items; False when there is none."""
        deleted = await _QUERIES.value(transaction, "delete_conversation", conversation_id)
        return deleted is not None

    async def insert_items(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        first_number: int,
        items: Sequence[tuple[UUID, str, UUID | None, bytes, UUID | None]],
        response_id: UUID | None,
        branch: int,
    ) -> None:
        """Keep items of a locked conversation, numbered one after the other.

        Args:
            transaction: What holds the lock.
            conversation_id: The conversation.
            first_number: Of the first of them.
            items: Of each its id, its type, the key that it alone has, what is sealed, and what a client calls it.
            response_id: Which response they are asked or answered by.
            branch: Where they go.
        """
        ids, kinds, key_ids, sealed, references = (
            list(column) for column in zip(*items, strict=True)
        )
        await _QUERIES.execute(
            transaction,
            "insert_items",
            conversation_id,
            first_number,
            ids,
            kinds,
            key_ids,
            sealed,
            response_id,
            branch,
            references,
        )
        await _QUERIES.execute(transaction, "advance", conversation_id, len(items))

    async def insert_passages(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        sources: Sequence[tuple[int, Source]],
    ) -> None:
        """Record what items were made from: of each passage the item's number, and where it stands."""
        await _QUERIES.execute(
            transaction,
            "insert_passages",
            conversation_id,
            [number for number, _ in sources],
            [source.document_id for _, source in sources],
            [source.version for _, source in sources],
            [source.start for _, source in sources],
            [source.end for _, source in sources],
        )

    async def list_items(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        page: ItemPage,
        item_id: UUID | None = None,
        before_response: UUID | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Record]:
        """Some items, or one, those before a response, or those with these numbers; nothing where none may be read."""
        return await _QUERIES.many(
            transaction,
            "list_items",
            conversation_id,
            page.after,
            page.limit,
            page.is_ascending,
            item_id,
            before_response,
            page.branch,
            numbers,
        )

    async def list_passage_texts(
        self, transaction: Transaction, conversation_id: UUID, numbers: Sequence[int]
    ) -> list[Record]:
        """What some items were made from, as far as it is still indexed."""
        return await _QUERIES.many(
            transaction, "list_passage_texts", conversation_id, list(numbers)
        )

    async def delete_item(
        self, transaction: Transaction, conversation_id: UUID, item_id: UUID
    ) -> bool:
        """Forget an item of a locked conversation; False when there is none."""
        number = await _QUERIES.value(transaction, "delete_item", conversation_id, item_id)
        return number is not None

    async def hold_sources(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        numbers: Sequence[int],
        summary_id: UUID | None,
    ) -> int:
        """Keep what items were made from, as far as it is there, until the transaction ends; how many are whole.

        With what stands for others, if something does.
        """
        await _QUERIES.execute(
            transaction, "hold_sources", conversation_id, list(numbers), summary_id
        )
        return cast(
            "int",
            await _QUERIES.value(transaction, "count_whole_items", conversation_id, list(numbers)),
        )

    async def list_response_sources(
        self, transaction: Transaction, response_id: UUID
    ) -> list[Source]:
        """What a response was made from."""
        return _sources(await _QUERIES.many(transaction, "list_response_sources", response_id))

    async def hold_conversation(self, transaction: Transaction, conversation_id: UUID) -> None:
        """Keep a conversation, if it is there, from being deleted until the transaction ends."""
        await _QUERIES.execute(transaction, "hold_conversation", conversation_id)

    async def list_calls(self, transaction: Transaction, conversation_id: UUID) -> list[Record]:
        """The calls of functions, each with its key."""
        return await _QUERIES.many(transaction, "list_calls", conversation_id)

    async def list_item_sources(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        numbers: Sequence[int],
        most: int | None = None,
    ) -> list[Source]:
        """What items were made from; all of it, or so many passages."""
        rows = await _QUERIES.many(
            transaction, "list_item_sources", conversation_id, list(numbers), most
        )
        return _sources(rows)

    async def list_told(self, transaction: Transaction, conversation_id: UUID) -> frozenset[int]:
        """The numbers of the items that clients have added, and not answers."""
        rows = await _QUERIES.many(transaction, "list_told", conversation_id)
        return frozenset(row["number"] for row in rows)


def _sources(rows: Sequence[Record]) -> list[Source]:
    return [
        Source(row["document_id"], row["document_version"], row["start_offset"], row["end_offset"])
        for row in rows
    ]
