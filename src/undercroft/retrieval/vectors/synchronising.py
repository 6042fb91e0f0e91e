"""Keeping an index outside as PostgreSQL has it.

What changes is noted in the transaction that changes it, and brought outside afterwards, at least once. A chunk's id is
never used again and its vector never changes: so a chunk is not there, then there, then gone for ever, and whoever
looks once more after they have put it outside cannot leave one there that is gone.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.database import Database
from undercroft.ledger.models import LogScope
from undercroft.retrieval.halfvec import read_vector
from undercroft.retrieval.vectors.errors import RestingIndexError, VectorIndexError
from undercroft.retrieval.vectors.models import Point, Space
from undercroft.retrieval.vectors.repository import VectorRepository

if TYPE_CHECKING:
    from undercroft.retrieval.vectors.points import Points

_BATCH: Final = 20
_LEASE: Final = timedelta(minutes=1)
_PAGE: Final = 500

_log = structlog.stdlib.get_logger(__name__)


class VectorSync:
    """Brings vectors outside, and takes them away; any number of workers may do it at once."""

    def __init__(self, database: Database, points: "Points") -> None:
        self._database = database
        self._points = points
        self._repository = VectorRepository()
        self._prepared: set[int] = set()

    async def is_wanted(self) -> bool:
        """Whether the database notes what is to be brought."""
        return bool(await self._list_spaces())

    async def bring_pending(self) -> int:
        """Bring outside what has changed; how many notes there were of it. What fails is tried again after its lease.

        Where the index was not complete, or a place for a model is missing there, all is compared before.
        """
        spaces = await self._list_spaces()
        if not spaces:
            return 0
        models = {each["model_id"] for each in spaces}
        try:
            if not self._prepared <= models:
                # Of a model that was retired nothing stays.
                await self._drop_places(spaces[0]["index_id"])
                self._prepared &= models
            if not models <= self._prepared:
                await self.compare()
            return await self._bring_notes()
        except RestingIndexError:
            return 0
        except VectorIndexError as error:
            # What was there may be there no more.
            self._prepared.clear()
            _log.warning("vectors_not_brought", reason=error.message)
            return 0

    async def compare(self) -> int:
        """Bring outside all that is missing there, and take away what is too much; how many passages that were.

        Where a place was not there, searches do not ask until all is.
        """
        rows = await self._list_spaces()
        mended = 0
        for row in rows:
            space = _space(row)
            if not await self._points.exists(space):
                await self._set_complete(space.index_id, is_complete=False)
            await self._points.make(space, row["dimensions"])
            self._prepared.add(space.model_id)
            mended += await self._take_away(space) + await self._bring_missing(space)
        if rows:
            await self._end_comparison(rows)
        return mended

    async def compare_again(self) -> int:
        """As :meth:`compare`, after :meth:`bring_pending` has done it; what does not answer is left for now."""
        if not self._prepared:
            return 0
        try:
            return await self.compare()
        except VectorIndexError as error:
            _log.warning("vectors_not_compared", reason=error.message)
            return 0

    async def _end_comparison(self, compared: Sequence[Record]) -> None:
        """Drop the places of models that are no more; say that all is there, unless a model has come meanwhile."""
        index_id = compared[0]["index_id"]
        spaces = await self._drop_places(index_id)
        if spaces and spaces <= {_space(row) for row in compared}:
            await self._set_complete(index_id, is_complete=True)

    async def _drop_places(self, index_id: UUID) -> set[Space]:
        """Drop the places of models that are no more; those of the others, none where none is wanted any more.

        The models are looked at again, and after the places: a comparison takes long, and another worker makes a place
        for a model only when the model is there. By what was there at its beginning that place would be dropped.
        """
        names = await self._points.list_names(index_id)
        spaces = {_space(row) for row in await self._list_spaces()}
        if spaces:
            for name in set(names) - {space.name for space in spaces}:
                await self._points.drop(name)
        return spaces

    async def _list_spaces(self) -> list[Record]:
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.list_spaces(transaction)

    async def _bring_notes(self) -> int:
        done = 0
        while True:
            async with self._database.transaction_without_scope() as transaction:
                notes = await self._repository.lease_pending(transaction, _BATCH, _LEASE)
                spaces = await self._repository.list_spaces(transaction)
            if not notes:
                return done
            known = [_space(row) for row in spaces]
            for note in sorted(notes, key=lambda row: row["id"]):
                await self._bring(note["tenant_id"], known, note["chunk_ids"])
                async with self._database.transaction(LogScope(note["tenant_id"])) as transaction:
                    await self._repository.delete_pending(transaction, note["id"])
                done += 1

    async def _set_complete(self, index_id: UUID, *, is_complete: bool) -> None:
        async with self._database.transaction_without_scope() as transaction:
            await self._repository.set_complete(transaction, index_id, is_complete=is_complete)

    async def _take_away(self, space: Space) -> int:
        taken = 0
        following: int | None = 0
        while following is not None:
            ids, following = await self._points.list_ids(space, following, _PAGE)
            async with self._database.transaction_without_scope() as transaction:
                there = await self._repository.find_vectors(transaction, space.model_id, ids)
            strays = [each for each in ids if each not in there]
            if strays:
                await self._points.remove(space, strays)
            taken += len(strays)
        return taken

    async def _bring_missing(self, space: Space) -> int:
        brought = last = 0
        while True:
            async with self._database.transaction_without_scope() as transaction:
                rows = await self._repository.list_vectors(transaction, space.model_id, last, _PAGE)
            if not rows:
                return brought
            last = rows[-1]["chunk_id"]
            held = await self._points.find(space, [row["chunk_id"] for row in rows])
            missing: defaultdict[UUID, list[int]] = defaultdict(list)
            for row in rows:
                if row["chunk_id"] not in held:
                    missing[row["tenant_id"]].append(row["chunk_id"])
            for tenant_id, chunk_ids in missing.items():
                await self._bring(tenant_id, [space], chunk_ids)
                brought += len(chunk_ids)

    async def _bring(
        self, tenant_id: UUID, spaces: Sequence[Space], chunk_ids: Sequence[int]
    ) -> None:
        """Have these chunks outside as they are here."""
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            rows = await self._repository.list_embeddings(transaction, chunk_ids)
        for space in spaces:
            points = [
                Point(row["chunk_id"], tenant_id, read_vector(row["embedding"]))
                for row in rows
                if row["model_id"] == space.model_id
            ]
            if points:
                await self._points.put(space, points)
            # Looked at again: what was deleted meanwhile another worker may have taken away before it was put.
            async with self._database.transaction_without_scope() as transaction:
                there = await self._repository.find_vectors(transaction, space.model_id, chunk_ids)
            gone = [each for each in chunk_ids if each not in there]
            if gone:
                await self._points.remove(space, gone)


def _space(row: Record) -> Space:
    return Space(row["index_id"], row["model_id"])
