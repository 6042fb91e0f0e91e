"""Whether somebody who watches a response may see what has just been made: asked once for all tabs that they have."""

from collections.abc import Sequence
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.reading import SourceCheck
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.batches import Batches
from undercroft.kit.database import Database
from undercroft.kit.scope import Scope
from undercroft.sharing.errors import AccessRevokedError
from undercroft.vault.keys.service import KeyRing

_MOST: Final = 100_000
"""Watchers that one question is for: more than a process has."""

_Key: TypeAlias = tuple[Scope, UUID]
_Judged: TypeAlias = Record | None


class Judgements:
    """Judges watchers of kept responses.

    Every watcher asks at each event; a thousand tabs of one caller would ask a thousand times at once, and the last of
    them would find no connection in time. A question that is under way may have begun before an event was made, so that
    whoever asks meanwhile has the next one.
    """

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._sources = SourceCheck(keys)
        self._repository = ResponseRepository()
        self._batches: Batches[_Key, None, _Judged] = Batches(self._judge, _MOST)

    async def ask(self, scope: Scope, response_id: UUID) -> Record | None:
        """A response as ``find_response`` answers it, of which the principal may see all; None where it is gone.

        Raises:
            AccessRevokedError: When one of its sources may not, or no more, be read by the principal.
        """
        return await self._batches.ask((scope, response_id), None)

    async def _judge(
        self, key: _Key, asked: Sequence[None]
    ) -> Sequence[_Judged | AccessRevokedError]:
        scope, response_id = key
        async with self._database.transaction(scope) as transaction:
            row = await self._repository.find_response(transaction, response_id)
            # Of one that was erased there is nothing to judge.
            if (
                row is not None
                and row["key_id"] is not None
                and not await self._sources.may_read(transaction, row)
            ):
                return [AccessRevokedError()] * len(asked)
        return [row] * len(asked)
