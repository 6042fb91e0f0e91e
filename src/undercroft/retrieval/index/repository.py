"""The index's statements, one method each."""

import base64
from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

import numpy as np
import numpy.typing as npt
from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.halfvec import render_vector
from undercroft.retrieval.index.models import SealedChunk
from undercroft.retrieval.segmentation import segment

_QUERIES: Final = load_queries("undercroft.retrieval.index")


class IndexRepository:
    """Writes chunks, lexemes and vectors, and the state of the contents they come from."""

    async def request_index(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Mark a content as waiting; False when it is indexed or waiting already."""
        return await _QUERIES.value(transaction, "request_index", blob_id) is not None

    async def find_member_content(self, transaction: Transaction, document_id: UUID) -> UUID | None:
        """The content of the current version of a document that is in a collection."""
        blob_id = await _QUERIES.value(transaction, "find_member_content", document_id)
        return cast("UUID | None", blob_id)

    async def list_superseded(
        self, transaction: Transaction, document_id: UUID, *, with_indexed: bool
    ) -> list[UUID]:
        """Contents of a document's earlier versions that wait to be indexed, or are, and are current nowhere."""
        rows = await _QUERIES.many(transaction, "list_superseded", document_id, with_indexed)
        return [row["id"] for row in rows]

    async def list_superseded_by(self, transaction: Transaction, blob_id: UUID) -> list[UUID]:
        """Contents that the index has, that this one has superseded, and that are current nowhere."""
        rows = await _QUERIES.many(transaction, "list_superseded_by", blob_id)
        return [row["id"] for row in rows]

    async def is_pending(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Whether a content waits to be indexed."""
        return bool(await _QUERIES.value(transaction, "is_pending", blob_id))

    async def lock_content(self, transaction: Transaction, blob_id: UUID) -> None:
        """Keep others from making a content current, or wait until they have."""
        await _QUERIES.execute(transaction, "lock_content", blob_id)

    async def find_former_content(self, transaction: Transaction, blob_id: UUID) -> Record | None:
        """The indexed content that this one follows in a document, with its key."""
        return await _QUERIES.maybe(transaction, "find_former_content", blob_id)

    async def list_embedded_passages(
        self, transaction: Transaction, blob_id: UUID, model: EmbeddingModel, limit: int
    ) -> list[Record]:
        """The passages of a content with the vectors that a model has made of them."""
        return await _QUERIES.many(
            transaction, "list_embedded_passages", blob_id, model.name, model.dimensions, limit
        )

    async def forget_superseded(self, transaction: Transaction, blob_id: UUID) -> None:
        """Take a content out of the index unless it is current somewhere."""
        await _QUERIES.execute(transaction, "lock_content", blob_id)
        await _QUERIES.execute(transaction, "forget_superseded", blob_id)

    async def begin_indexing(self, transaction: Transaction, blob_id: UUID) -> Record | None:
        """A content that waits to be indexed, or failed and now waits again, with its key; None when there is none."""
        return await _QUERIES.maybe(transaction, "begin_indexing", blob_id)

    async def find_content(self, transaction: Transaction, blob_id: UUID) -> Record | None:
        """A content with its key."""
        return await _QUERIES.maybe(transaction, "find_content", blob_id)

    async def lock_pending_blob(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Lock a content that still waits; False when it does not, or is gone."""
        return await _QUERIES.value(transaction, "lock_pending_blob", blob_id) is not None

    async def allocate_chunk_ids(self, transaction: Transaction, count: int) -> list[int]:
        """Fresh chunk ids, ascending."""
        rows = await _QUERIES.many(transaction, "allocate_chunk_ids", count)
        return [row["id"] for row in rows]

    async def insert_embeddings(
        self,
        transaction: Transaction,
        model_id: int,
        blob_id: UUID,
        chunk_ids: Sequence[int],
        vectors: npt.NDArray[np.float32],
    ) -> None:
        """Insert vectors, row for row of ``chunk_ids``."""
        await _QUERIES.execute(
            transaction,
            "insert_embeddings",
            model_id,
            blob_id,
            chunk_ids,
            [render_vector(vector) for vector in vectors],
        )

    async def insert_chunks(
        self,
        transaction: Transaction,
        blob_id: UUID,
        dictionary: str,
        chunk_ids: Sequence[int],
        chunks: Sequence[SealedChunk],
    ) -> None:
        """Insert chunks; their words are indexed, by a dictionary, and counted on the way."""
        passages = [
            {
                "id": chunk_id,
                "ordinal": sealed.chunk.ordinal,
                "start_offset": sealed.chunk.start,
                "end_offset": sealed.chunk.end,
                "page_start": sealed.chunk.page,
                "page_end": sealed.chunk.page,
                "sealed_text": base64.b64encode(sealed.sealed_text).decode(),
                "token_count": sealed.chunk.token_count,
                "searchable": segment(sealed.searchable),
            }
            for chunk_id, sealed in zip(chunk_ids, chunks, strict=True)
        ]
        await _QUERIES.execute(transaction, "insert_chunks", blob_id, passages, dictionary)

    async def mark_indexed(self, transaction: Transaction, blob_id: UUID) -> None:
        """Make a content searchable."""
        await _QUERIES.execute(transaction, "mark_indexed", blob_id)

    async def mark_failed(
        self, transaction: Transaction, blob_id: UUID, code: str, message: str
    ) -> None:
        """Record why a waiting content cannot be indexed."""
        await _QUERIES.execute(transaction, "mark_failed", blob_id, code, message)

    async def is_average_stale(self, transaction: Transaction, tolerance: float) -> bool:
        """Whether the average length has moved by more than ``tolerance`` since terms were weighted."""
        return bool(await _QUERIES.value(transaction, "is_average_stale", tolerance))

    async def renew_average(self, transaction: Transaction) -> float | None:
        """Make the current average length the one to weight with; None when the tenant has no chunk yet.

        The weights count as stale from here on, until :meth:`end_reweighting`.
        """
        return cast("float | None", await _QUERIES.value(transaction, "renew_average"))

    async def end_reweighting(self, transaction: Transaction) -> None:
        """All chunks are weighted with the average that was renewed."""
        await _QUERIES.execute(transaction, "end_reweighting")

    async def reweight_chunks(
        self, transaction: Transaction, average: float, after: int, limit: int
    ) -> int | None:
        """Weight the terms of the next chunks; the last one's id, None when none was left."""
        last = await _QUERIES.value(transaction, "reweight_chunks", average, after, limit)
        return cast("int | None", last)
