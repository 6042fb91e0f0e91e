"""Forgets responses that were kept for a day alone."""

from typing import Final

from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.database import Database
from undercroft.kit.expiry import delete_expired
from undercroft.ledger.models import LogScope

_BATCH: Final = 200


class ShortLivedResponses:
    """Responses whose time is over."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = ResponseRepository()

    async def forget(self) -> int:
        """Delete them, with their keys and all that was made from them; how many."""
        return await delete_expired(
            self._database,
            _BATCH,
            find=self._repository.list_expired,
            scope_of=LogScope,
            delete=self._repository.delete_expired,
        )
