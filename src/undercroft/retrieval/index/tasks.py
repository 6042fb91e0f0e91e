"""The jobs that build the index."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import structlog
from tokenizers import Tokenizer

from undercroft.jobs.errors import JobFailedError
from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import JobFailure, Payload
from undercroft.jobs.service import JobQueue
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.kit.scope import Scope
from undercroft.retrieval.chunking import chunk_document
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.index.former import FormerVectors
from undercroft.retrieval.index.models import (
    FORGET_JOB,
    INDEX_JOB,
    REWEIGHT_JOB,
    EmbeddedChunks,
    IndexedChunk,
    SealedChunk,
    with_context,
)
from undercroft.retrieval.index.repository import IndexRepository
from undercroft.retrieval.index.vectors import ContentVectors
from undercroft.retrieval.languages import find_dictionary
from undercroft.retrieval.parsing.errors import ParseError, UnsupportedTypeError
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.sandbox import ParserSandbox
from undercroft.retrieval.passages import PassagePlace, PassageText, seal_passage
from undercroft.retrieval.spaces.service import EmbeddingSpaces
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import open_content

_INDEX_SECONDS: Final = 1800.0
_CONTEXT_TOKENS: Final = 36
"""Of the embedder's limit, what is left for special tokens and the title and headings before a passage."""
_INSERT_BATCH: Final = 500
_REWEIGHT_BATCH: Final = 1000
_AVERAGE_TOLERANCE: Final = 0.1
"""BM25 weights are renewed when the average length has moved by more than this since they were computed."""

_log = structlog.stdlib.get_logger(__name__)


class IndexTasks:
    """Parses, chunks, embeds and stores one content; and keeps the weights of a tenant's terms fresh."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        keys: KeyRing,
        sandbox: ParserSandbox,
        tokenizer: Tokenizer,
        embedder: Embedder,
        jobs: JobQueue,
        incoming: Embedder | None = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._keys = keys
        self._sandbox = sandbox
        self._tokenizer = tokenizer
        self._embedder = embedder
        self._jobs = jobs
        self._repository = IndexRepository()
        self._spaces = EmbeddingSpaces()
        self._vectors = ContentVectors(FormerVectors(database, keys), embedder, incoming)

    def handlers(self, concurrency: int) -> Mapping[str, JobHandler]:
        """What a worker registers. One file is parsed and another stored while a third is embedded."""
        return {
            INDEX_JOB: JobHandler(self.index_blob, _INDEX_SECONDS, concurrency, self.record_death),
            FORGET_JOB: JobHandler(self.forget_blob, _INDEX_SECONDS),
            REWEIGHT_JOB: JobHandler(self.reweight_terms, _INDEX_SECONDS),
        }

    async def index_blob(self, context: JobContext) -> None:
        """Make one content searchable.

        Its chunks appear in one transaction, under the job's fence: after a crash in the middle the next attempt
        starts over, and a stalled worker that comes back late finds the content indexed and writes nothing.
        A file that cannot be read ends the job: its state says why.
        """
        blob_id = UUID(str(context.payload["blob_id"]))
        async with self._database.transaction(context.scope) as transaction:
            await context.still_mine(transaction)
            blob = await self._repository.begin_indexing(transaction, blob_id)
        if blob is None:
            return
        try:
            key = await self._keys.open(blob)
        except KeyDestroyedError as error:
            # No other attempt will find it.
            await self._fail(context, blob_id, error)
            return
        content = await open_content(self._blobs, self._keys, blob)
        try:
            document = await self._sandbox.extract(await content.read(), blob["media_type"])
        except (ParseError, UnsupportedTypeError) as error:
            await self._fail(context, blob_id, error)
            return
        chunks = await asyncio.to_thread(self._chunk, document)
        dictionary = await asyncio.to_thread(find_dictionary, document.text)
        vectors = await self._vectors.embed(context, blob_id, chunks)
        sealed = await asyncio.to_thread(_seal, key, context.scope.tenant_id, blob_id, chunks)
        async with self._database.transaction(context.scope) as transaction:
            await context.still_mine(transaction)
            # Against a delete of the document at the same time: whoever locks the blob first wins, and a blob that is
            # gone gets no chunks.
            if await self._repository.lock_pending_blob(transaction, blob_id):
                await self._store(transaction, EmbeddedChunks(blob_id, dictionary, sealed, vectors))
                await self._renew_stale_weights(transaction, context.scope)
                await self._forget_former(transaction, context.scope, blob_id)

    async def forget_blob(self, context: JobContext) -> None:
        """Delete the passages of a content that was superseded, unless it is current again."""
        blob_id = UUID(str(context.payload["blob_id"]))
        async with self._database.transaction(context.scope) as transaction:
            await self._repository.forget_superseded(transaction, blob_id)

    async def record_death(
        self, transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
    ) -> None:
        """Record on the content that its job was given up, so that nobody waits for it."""
        blob_id = UUID(str(payload["blob_id"]))
        await self._repository.lock_content(transaction, blob_id)
        await self._repository.mark_failed(transaction, blob_id, failure.code, failure.message)
        await self._forget_former(transaction, scope, blob_id)

    async def reweight_terms(self, context: JobContext) -> None:
        """Weight all of a tenant's terms with the current average length.

        Each step ends under the job's fence: of two attempts the one that was taken over weights nothing by its own
        average after the other one. Whatever ends it before its end leaves the weights stale, and the next content that
        is indexed asks for it again.
        """
        async with self._database.transaction(context.scope) as transaction:
            average = await self._repository.renew_average(transaction)
            # After the tenant's row, as whoever asks for this job: they hold that, and may wait for the job.
            await context.still_mine(transaction)
        last: int | None = 0
        while average is not None and last is not None:
            async with self._database.transaction(context.scope) as transaction:
                last = await self._repository.reweight_chunks(
                    transaction, average, last, _REWEIGHT_BATCH
                )
                await context.still_mine(transaction)
        async with self._database.transaction(context.scope) as transaction:
            await self._repository.end_reweighting(transaction)
            await context.still_mine(transaction)

    def _chunk(self, document: ExtractedDocument) -> list[IndexedChunk]:
        room = self._embedder.model.max_tokens - _CONTEXT_TOKENS
        chunks = chunk_document(document, self._tokenizer, room)
        return [with_context(document, chunk) for chunk in chunks]

    async def _store(self, transaction: Transaction, embedded: EmbeddedChunks) -> None:
        ids = await self._repository.allocate_chunk_ids(transaction, len(embedded.chunks))
        written: list[int] = []
        for model, vectors in embedded.vectors.items():
            model_id = await self._spaces.lock(transaction, model)
            if model_id is None:
                continue
            written.append(model_id)
            for start in range(0, len(ids), _INSERT_BATCH):
                part = slice(start, start + _INSERT_BATCH)
                await self._repository.insert_embeddings(
                    transaction, model_id, embedded.blob_id, ids[part], vectors[part]
                )
        if not written:
            raise JobFailedError(
                "model_not_registered",
                f"The embedding model {self._embedder.model.name} is not registered. Run `undercroft migrate`.",
            )
        await self._spaces.report_gaps(transaction, written, self._vectors.models)
        for start in range(0, len(ids), _INSERT_BATCH):
            part = slice(start, start + _INSERT_BATCH)
            await self._repository.insert_chunks(
                transaction,
                embedded.blob_id,
                embedded.dictionary,
                ids[part],
                embedded.chunks[part],
            )
        await self._repository.mark_indexed(transaction, embedded.blob_id)

    async def _forget_former(self, transaction: Transaction, scope: Scope, blob_id: UUID) -> None:
        """Have what a content supersedes deleted, now that it is not needed any more."""
        for superseded in await self._repository.list_superseded_by(transaction, blob_id):
            await self._jobs.enqueue(transaction, scope, FORGET_JOB, {"blob_id": str(superseded)})

    async def _renew_stale_weights(self, transaction: Transaction, scope: Scope) -> None:
        if await self._repository.is_average_stale(transaction, _AVERAGE_TOLERANCE):
            await self._jobs.enqueue(transaction, scope, REWEIGHT_JOB, {}, dedupe_key="tenant")

    async def _fail(self, context: JobContext, blob_id: UUID, error: UndercroftError) -> None:
        code = error.code or error.kind
        async with self._database.transaction(context.scope) as transaction:
            await context.still_mine(transaction)
            await self._repository.lock_content(transaction, blob_id)
            await self._repository.mark_failed(transaction, blob_id, code, error.message)
            await self._forget_former(transaction, context.scope, blob_id)
        _log.info("document_not_indexed", blob_id=str(blob_id), reason=code)


def _seal(
    key: DataKey, tenant_id: UUID, blob_id: UUID, chunks: Sequence[IndexedChunk]
) -> list[SealedChunk]:
    return [
        SealedChunk(
            indexed.chunk,
            seal_passage(
                key.material,
                PassagePlace(tenant_id, blob_id, indexed.chunk.ordinal),
                PassageText(
                    indexed.text,
                    indexed.chunk.headings,
                    heading_starts=(indexed.chunk.heading_starts,),
                    digest=indexed.digest,
                ),
            ),
            indexed.searchable,
        )
        for indexed in chunks
    ]
