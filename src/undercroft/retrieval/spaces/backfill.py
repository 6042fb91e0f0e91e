"""Embeds by a model, in the background, the passages that were there before it.

What no worker has in hand is taken in hand under a lease and a fence. What a batch embedded and how far it came commit
together, so that whatever ends a worker, the next one goes on where it was, and no vector is made for what is gone.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Database
from undercroft.kit.errors import UndercroftError
from undercroft.kit.scope import Scope
from undercroft.ledger.models import LogScope
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.index.document_titles import DocumentTitles
from undercroft.retrieval.index.models import digest_text, searchable_text
from undercroft.retrieval.passages import open_row
from undercroft.retrieval.spaces.repository import SpaceRepository
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

_BATCH: Final = 64
"""Passages embedded at once, about a second's work: what an upload may have to wait for."""
_LEASE: Final = timedelta(minutes=2)
"""How long a worker has for a batch; after a failure, when the next one tries."""

_log = structlog.stdlib.get_logger(__name__)


class _TakenOverError(Exception):
    """Another worker has it by now, or the model was retired: nothing of this batch is kept."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A backfill that this process has in hand.

    Attributes:
        titles: Of the content that was last read: the passages of a long one are in many batches.
    """

    scope: Scope
    embedder: Embedder
    model_id: int
    fence: int
    titles: dict[UUID, str | None] = field(default_factory=dict)


class Backfill:
    """Goes on with what every tenant waits for, as far as this process has the models.

    Args:
        database: Where the passages are.
        keys: Opens their texts.
        titles: Finds what they were embedded below.
        embedders: The models that there are here.
        is_busy: Whether documents wait to be indexed: they come first.
        lease: How long it has for a batch.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        titles: DocumentTitles,
        embedders: Sequence[Embedder],
        is_busy: Callable[[], Awaitable[bool]],
        lease: timedelta = _LEASE,
    ) -> None:
        self._database = database
        self._keys = keys
        self._titles = titles
        self._embedders = {embedder.model.name: embedder for embedder in embedders}
        self._is_busy = is_busy
        self._lease = lease
        self._repository = SpaceRepository()

    async def go_on(self) -> int:
        """Go on until nothing waits, or documents do; how many passages were embedded.

        While documents wait it is one batch of each for a call.
        """
        async with self._database.transaction_without_scope() as transaction:
            rows = await self._repository.list_open_backfills(transaction)
        embedded = 0
        for row in rows:
            embedder = self._embedders.get(row["model_name"])
            if embedder is not None:
                embedded += await self._go_on(LogScope(row["tenant_id"]), embedder)
        return embedded

    async def _go_on(self, scope: Scope, embedder: Embedder) -> int:
        model = embedder.model
        async with self._database.transaction(scope) as transaction:
            model_id = await self._repository.lock_model(transaction, model.name, model.dimensions)
            if model_id is None:
                return 0
            claim = await self._repository.claim(transaction, model_id, self._lease)
        if claim is None:
            return 0
        work, last = _Work(scope, embedder, model_id, claim["fence"]), claim["last_chunk_id"]
        embedded = 0
        try:
            while last is not None:
                last, added = await self._batch(work, last)
                embedded += added
                if last is not None and await self._is_busy():
                    await self._release(work)
                    break
        except _TakenOverError:
            _log.info("backfill_taken_over", model=model.name)
        except UndercroftError as error:
            # Tried again when the lease is over.
            _log.warning("backfill_postponed", model=model.name, reason=error.message)
        return embedded

    async def _batch(self, work: _Work, last: int) -> tuple[int | None, int]:
        """Where to go on, None where there is nothing to do; and how many passages were embedded."""
        async with self._database.transaction(work.scope) as transaction:
            rows = await self._repository.list_to_embed(transaction, work.model_id, last, _BATCH)
        if not rows:
            return await self._end_pass(work), 0
        texts = await self._open(work, rows)
        vectors = await work.embedder.embed(list(texts.values()))
        model, last = work.embedder.model, rows[-1]["chunk_id"]
        async with self._database.transaction(work.scope) as transaction:
            # Against the destruction of the tenant's key at the same time: that waits, and deletes these vectors, too.
            await self._keys.hold(transaction)
            if await self._repository.lock_model(transaction, model.name, model.dimensions) is None:
                raise _TakenOverError
            present = await self._repository.insert_missing(
                transaction, work.model_id, list(texts), vectors
            )
            moved = await self._repository.advance(
                transaction,
                work.model_id,
                work.fence,
                last,
                has_gaps=present < len(texts),
                lease=self._lease,
            )
            if moved is None:
                raise _TakenOverError
        if moved["is_paused"]:
            await self._release(work)
            return None, present
        return last, present

    async def _end_pass(self, work: _Work) -> int | None:
        async with self._database.transaction(work.scope) as transaction:
            ended = await self._repository.end_pass(transaction, work.model_id, work.fence)
        if ended is None:
            raise _TakenOverError
        if ended["is_finished"]:
            _log.info("backfill_finished", model=work.embedder.model.name)
            return None
        return 0

    async def _release(self, work: _Work) -> None:
        async with self._database.transaction(work.scope) as transaction:
            await self._repository.release(transaction, work.model_id, work.fence)

    async def _open(self, work: _Work, rows: Sequence[Record]) -> Mapping[int, str]:
        """What is to be embedded of each passage that can be read: what was embedded when it was indexed."""
        keys: dict[UUID, DataKey] = {}
        texts: dict[int, str] = {}
        for row in rows:
            try:
                key = keys.get(row["key_id"]) or await self._keys.open(row)
                passage = open_row(key.material, row)
            except DecryptionError:
                _log.warning("passage_unreadable", blob_id=str(row["blob_id"]))
                continue
            keys[row["key_id"]] = key
            text, blob_id = searchable_text(passage.text, None, passage.headings), row["blob_id"]
            if digest_text(text) != passage.digest:
                # There was a title over it.
                if blob_id not in work.titles:
                    work.titles.clear()
                    work.titles[blob_id] = await self._titles.find(work.scope, blob_id)
                text = searchable_text(passage.text, work.titles[blob_id], passage.headings)
            texts[row["chunk_id"]] = text
        return texts
