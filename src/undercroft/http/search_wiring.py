"""The search with its models and its index of vectors, and what reads files, opened for ``http/wiring.py``."""

from contextlib import AsyncExitStack
from typing import Final

from aiohttp import ClientSession

from undercroft.chat.file_texts import MOST_CHARACTERS, FileTexts
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger
from undercroft.retrieval.embedding.configured import open_embedder, open_incoming_embedder
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.parsing.sandbox import ParserSandbox, SandboxLimits
from undercroft.retrieval.reranking.configured import open_reranker
from undercroft.retrieval.search.nearest import PostgresIndex
from undercroft.retrieval.search.service import SearchService
from undercroft.retrieval.vectors.configured import open_points
from undercroft.retrieval.vectors.outside import OutsideIndex
from undercroft.retrieval.vectors.protocol import VectorIndex
from undercroft.vault.keys.service import KeyRing

_GIVEN_SECONDS: Final = 30.0
"""The longest that one file of a request is read for: somebody waits for it."""


async def open_search(
    stack: AsyncExitStack,
    settings: Settings,
    client: ClientSession,
    database: Database,
    keys: KeyRing,
    ledger: Ledger,
    clock: Clock,
) -> tuple[Embedder, SearchService]:
    """What embeds, and what finds passages, until ``stack`` closes."""
    embedder = await open_embedder(settings, client, clock)
    stack.push_async_callback(embedder.close)
    incoming = await open_incoming_embedder(settings, client, clock)
    if incoming is not None:
        stack.push_async_callback(incoming.close)
    reranker = await open_reranker(settings, client, clock)
    if reranker is not None:
        stack.push_async_callback(reranker.close)
    search = SearchService(
        database,
        keys,
        ledger,
        embedder,
        reranker,
        incoming,
        _open_vector_index(stack, settings, database, clock),
        seconds=settings.search_seconds,
    )
    return embedder, search


def open_file_texts(stack: AsyncExitStack, settings: Settings) -> FileTexts:
    """What reads files that come with requests, until ``stack`` closes. Its process begins with the first of them."""
    limits = SandboxLimits(
        memory_bytes=settings.parser_memory_bytes,
        seconds=min(settings.parser_seconds, _GIVEN_SECONDS),
        max_characters=MOST_CHARACTERS,
    )
    sandbox = ParserSandbox(limits)
    stack.push_async_exit(sandbox)
    return FileTexts(sandbox)


def _open_vector_index(
    stack: AsyncExitStack, settings: Settings, database: Database, clock: Clock
) -> VectorIndex:
    own = PostgresIndex(database)
    points = open_points(settings, clock)
    if points is None:
        return own
    stack.push_async_callback(points.close)
    return OutsideIndex(database, points, own)
