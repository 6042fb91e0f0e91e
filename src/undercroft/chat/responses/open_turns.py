"""What of one's own is being made in a conversation, or waits for its turn."""

from collections.abc import Sequence
from uuid import UUID

from undercroft.chat.streams.models import OpenTurn
from undercroft.chat.streams.process import StreamProcess
from undercroft.kit.database import Database
from undercroft.kit.scope import Scope


class OpenTurns:
    """Finds the principal's responses that have not ended.

    Args:
        database: Where they are.
        process: Knows which have not.
    """

    def __init__(self, database: Database, process: StreamProcess) -> None:
        self._database = database
        self._process = process

    async def list_own(self, scope: Scope, conversation_id: UUID) -> Sequence[OpenTurn]:
        """Those of a conversation that the principal asked for, the one that is made before those that wait."""
        async with self._database.transaction(scope) as transaction:
            turns = await self._process.log.list_open_turns(transaction, conversation_id)
        own = [each for each in turns if each.principal_id == scope.principal_id]
        return sorted(own, key=lambda each: each.is_waiting)
