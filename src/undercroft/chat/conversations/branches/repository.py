"""The statements of branches, one method each."""

from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.chat.conversations.branches")


class BranchRepository:
    """Reads and writes where items go."""

    async def find_place(
        self, transaction: Transaction, conversation_id: UUID, item_id: UUID
    ) -> Record | None:
        """Where an item stands, and the last one of its branch."""
        return await _QUERIES.maybe(transaction, "find_place", conversation_id, item_id)

    async def insert_branch(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        parent_branch: int | None,
        after_number: int | None,
        deepest: int,
    ) -> int | None:
        """Begin a branch of a locked conversation; None where more than so many would go on from each other."""
        return cast(
            "int | None",
            await _QUERIES.value(
                transaction, "insert_branch", conversation_id, parent_branch, after_number, deepest
            ),
        )

    async def switch_branch(
        self, transaction: Transaction, conversation_id: UUID, branch: int
    ) -> None:
        """Make a branch of a locked conversation the current one."""
        await _QUERIES.execute(transaction, "switch_branch", conversation_id, branch)

    async def find_branch_of_response(
        self, transaction: Transaction, conversation_id: UUID, response_id: UUID
    ) -> int | None:
        """Where a response's items are."""
        return await _QUERIES.value(
            transaction, "find_branch_of_response", conversation_id, response_id
        )

    async def has_item(
        self, transaction: Transaction, conversation_id: UUID, item_id: UUID
    ) -> bool:
        """Whether there is or was such an item."""
        return cast("bool", await _QUERIES.value(transaction, "has_item", conversation_id, item_id))

    async def list_siblings(
        self, transaction: Transaction, conversation_id: UUID, item_id: UUID
    ) -> list[int]:
        """The numbers of the items that go on from the same one as this does; nothing where there is none."""
        rows = await _QUERIES.many(transaction, "list_siblings", conversation_id, item_id)
        return [row["number"] for row in rows]
