"""Brings a corpus into one collection and waits until it is indexed, from wherever an earlier run was interrupted."""

import asyncio
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from undercroft.evaluation.beir import SourceDocument
from undercroft.evaluation.progress import ProgressReport
from undercroft.jobs.models import JobState
from undercroft.jobs.service import JobService
from undercroft.kit.clock import Clock
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError
from undercroft.kit.scope import Scope
from undercroft.retrieval.collections.models import Collection, MemberStatus, Page, StatusCounts
from undercroft.retrieval.collections.service import CollectionService
from undercroft.vault.service import DocumentService

_NAME: Final = "corpus"
_PURPOSE: Final = "assistants"
_REFUSALS: Final = frozenset({ErrorKind.UNSUPPORTED_MEDIA_TYPE, ErrorKind.TOO_LARGE})
_PAGE: Final = 1000
_POLL_SECONDS: Final = 0.25
_STALLED_SECONDS: Final = 1800.0
"""As long as the index job of one document may take."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus as the vault takes it: each content once, and no empty ones.

    Whoever searches is shown one document of several with the same content. So one is taken in, and where it is found,
    all of them are: neither the ranking nor a judgement of one of them is disturbed.

    Attributes:
        contents: The documents to take in, by file name.
        twins: By file name, the ids of all documents with that content.
        empty: How many documents had no content.
    """

    contents: Mapping[str, SourceDocument]
    twins: Mapping[str, Sequence[str]]
    empty: int

    @property
    def duplicates(self) -> int:
        """How many documents have the content of an earlier one."""
        return sum(len(ids) - 1 for ids in self.twins.values())


def prepare_corpus(documents: Sequence[SourceDocument]) -> Corpus:
    """Set empty documents aside and group those of one content. Hashes everything; blocks for that long."""
    contents: dict[str, SourceDocument] = {}
    twins: dict[str, list[str]] = {}
    names: dict[bytes, str] = {}
    empty = 0
    for document in documents:
        content = document.render()
        if not content:
            empty += 1
            continue
        name = names.setdefault(hashlib.sha256(content).digest(), document.filename)
        contents.setdefault(name, document)
        twins.setdefault(name, []).append(document.id)
    return Corpus(contents, twins, empty)


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What became of a corpus.

    Attributes:
        collection_id: The collection it is in.
        indexed: How many contents can be found.
        failed: How many contents were refused, or could not be read.
        new: How many contents this run indexed.
        seconds: How long this run took to take them in and index them.
    """

    collection_id: UUID
    indexed: int
    failed: int
    new: int
    seconds: float


class CorpusLoader:
    """Takes a corpus in, as a user who has no other documents.

    Everything it does is durable document by document, so a run continues where the one before was killed.
    """

    def __init__(
        self,
        documents: DocumentService,
        collections: CollectionService,
        jobs: JobService,
        clock: Clock,
        progress: ProgressReport,
    ) -> None:
        self._documents = documents
        self._collections = collections
        self._jobs = jobs
        self._clock = clock
        self._progress = progress

    async def load(self, scope: Scope, corpus: Corpus, worker: asyncio.Task[None]) -> Ingestion:
        """Take in what is missing, and wait until all of it is indexed.

        Args:
            scope: The user.
            corpus: What is to be in the collection.
            worker: Indexes meanwhile.

        Raises:
            UnavailableError: When the worker ends, or nothing is indexed any more.
        """
        collection = await self._find_collection(scope)
        first, started = collection.counts.completed, self._clock.monotonic()
        await self._add_missing(scope, collection.id, corpus)
        counts = await self._wait(scope, collection.id, worker)
        return Ingestion(
            collection.id,
            indexed=counts.completed,
            failed=len(corpus.contents) - counts.completed,
            new=counts.completed - first,
            seconds=self._clock.monotonic() - started,
        )

    async def _find_collection(self, scope: Scope) -> Collection:
        found = await self._collections.list_collections(scope, Page(limit=1))
        return found[0] if found else await self._collections.create(scope, _NAME, {})

    async def _add_missing(self, scope: Scope, collection_id: UUID, corpus: Corpus) -> None:
        created = await self._list_documents(scope)
        members = await self._list_members(scope, collection_id)
        missing = {
            filename: document
            for filename, document in corpus.contents.items()
            if created.get(filename) not in members
        }
        first = len(corpus.contents) - len(missing)
        self._progress.phase("Adding documents", len(corpus.contents), first)
        for done, (filename, document) in enumerate(missing.items(), start=first + 1):
            document_id = created.get(filename) or await self._create(scope, document)
            if document_id is not None:
                # What failed in an earlier run is tried again by this.
                await self._collections.add(scope, collection_id, document_id, {})
            self._progress.update(done)

    async def _create(self, scope: Scope, document: SourceDocument) -> UUID | None:
        """Take one document in; None when the vault refuses its content."""
        try:
            created = await self._documents.import_file(
                scope, io.BytesIO(document.render()), document.filename, _PURPOSE
            )
        except UndercroftError as error:
            if error.kind not in _REFUSALS:
                raise
            return None
        return created.id

    async def _list_documents(self, scope: Scope) -> dict[str, UUID]:
        """What an earlier run took in: ids by file name."""
        found: dict[str, UUID] = {}
        after: UUID | None = None
        while page := await self._documents.list_documents(
            scope, after=after, ascending=True, limit=_PAGE
        ):
            found.update((document.filename, document.id) for document in page)
            after = page[-1].id
        return found

    async def _list_members(self, scope: Scope, collection_id: UUID) -> set[UUID]:
        """What is in the collection and did not fail."""
        found: set[UUID] = set()
        after: UUID | None = None
        while members := await self._collections.list_members(
            scope, collection_id, Page(_PAGE, after, ascending=True), None
        ):
            found.update(
                member.document_id for member in members if member.status is not MemberStatus.FAILED
            )
            after = members[-1].document_id
        return found

    async def _wait(
        self, scope: Scope, collection_id: UUID, worker: asyncio.Task[None]
    ) -> StatusCounts:
        """Wait for every job, those that keep the weights of terms fresh included."""
        counts = (await self._collections.get(scope, collection_id)).counts
        self._progress.phase("Indexing", counts.total, counts.total - counts.in_progress)
        left, moved_at = -1, self._clock.monotonic()
        while live := await self._count_live_jobs():
            if live != left:
                left, moved_at = live, self._clock.monotonic()
            if worker.done() or self._clock.monotonic() - moved_at > _STALLED_SECONDS:
                raise UnavailableError(
                    "Indexing does not advance: see the log, then run the same command again to continue."
                )
            counts = (await self._collections.get(scope, collection_id)).counts
            self._progress.update(counts.total - counts.in_progress)
            await asyncio.sleep(_POLL_SECONDS)
        counts = (await self._collections.get(scope, collection_id)).counts
        self._progress.update(counts.total - counts.in_progress)
        return counts

    async def _count_live_jobs(self) -> int:
        counted = await self._jobs.count()
        return sum(count.count for count in counted if count.state is not JobState.DEAD)
