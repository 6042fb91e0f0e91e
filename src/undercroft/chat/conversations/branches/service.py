"""Where items go: to the end of a branch, or beside what has gone on from the same item before."""

from uuid import UUID

from undercroft.chat.conversations.branches.repository import BranchRepository
from undercroft.chat.conversations.errors import BranchesTooDeepError
from undercroft.chat.conversations.models import DEEPEST_BRANCH, Conversation, Parent
from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError


class Branches:
    """Finds, makes and switches branches of conversations, within the transactions of those who add to them."""

    def __init__(self) -> None:
        self._repository = BranchRepository()

    async def find_for(
        self, transaction: Transaction, conversation: Conversation, parent: Parent | None
    ) -> int:
        """Where what is new goes, in a conversation that the transaction has locked; that is its current branch then.

        Args:
            transaction: What holds the lock.
            conversation: As it is since it was locked.
            parent: What is gone on from; None: the last item of the current branch.

        Raises:
            NotFoundError: When there is no such item, or it is deleted.
            BranchesTooDeepError: When it is on a branch that none may begin on.
        """
        if parent is None or (parent.item_id is None and conversation.next_number == 0):
            return conversation.branch
        if parent.item_id is None:
            branch = await self._begin(transaction, conversation.id, None, None)
        else:
            place = await self._repository.find_place(transaction, conversation.id, parent.item_id)
            if place is None:
                raise no_item(parent.item_id.hex, "parent")
            branch = place["branch"]
            if place["number"] != place["last_number"]:
                branch = await self._begin(transaction, conversation.id, branch, place["number"])
        await self._repository.switch_branch(transaction, conversation.id, branch)
        return branch

    async def _begin(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        parent_branch: int | None,
        after_number: int | None,
    ) -> int:
        branch = await self._repository.insert_branch(
            transaction, conversation_id, parent_branch, after_number, DEEPEST_BRANCH
        )
        if branch is None:
            raise BranchesTooDeepError(DEEPEST_BRANCH)
        return branch

    async def find_of_response(
        self, transaction: Transaction, conversation_id: UUID, response_id: UUID
    ) -> int | None:
        """Where a response was asked; None when nothing is there of it."""
        return await self._repository.find_branch_of_response(
            transaction, conversation_id, response_id
        )

    async def has_item(
        self, transaction: Transaction, conversation_id: UUID, item_id: UUID
    ) -> bool:
        """Whether there is or was such an item."""
        return await self._repository.has_item(transaction, conversation_id, item_id)

    async def switch(
        self, transaction: Transaction, conversation: Conversation, item_id: UUID
    ) -> None:
        """Make the branch that has an item the current one, in a conversation that the transaction has locked.

        Raises:
            NotFoundError: When there is no such item, or it is deleted.
        """
        place = await self._repository.find_place(transaction, conversation.id, item_id)
        if place is None:
            raise no_item(item_id.hex, "branch")
        await self._repository.switch_branch(transaction, conversation.id, place["branch"])

    async def list_siblings(
        self, transaction: Transaction, conversation_id: UUID, item_id: UUID
    ) -> list[int]:
        """The numbers of the items that go on from the same one as this does; nothing where there is none."""
        return await self._repository.list_siblings(transaction, conversation_id, item_id)


def no_item(identifier: str, param: str | None = None) -> NotFoundError:
    """The error for an item that a conversation does not have, or has no more."""
    return NotFoundError("item of the conversation", identifier, param=param)
