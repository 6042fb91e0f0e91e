"""What an edited document has in common with its earlier version: vectors that need not be made again."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Database
from undercroft.kit.scope import Scope
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.embedding.protocol import Vectors
from undercroft.retrieval.halfvec import read_vector
from undercroft.retrieval.index.repository import IndexRepository
from undercroft.retrieval.passages import open_row
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.service import KeyRing

KnownVectors: TypeAlias = Mapping[str, Vectors]
"""Vectors, by the digest of what was embedded."""

_MOST_PASSAGES: Final = 5_000
"""Of an earlier version; of a longer one the rest is embedded again."""

_log = structlog.stdlib.get_logger(__name__)


class FormerVectors:
    """Finds the vectors that a model has made of the earlier version of a content.

    Texts are compared by what was embedded, title and headings included. So one that is taken over is what the model
    has made of the same text.
    """

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        self._repository = IndexRepository()

    async def find(self, scope: Scope, blob_id: UUID, model: EmbeddingModel) -> KnownVectors:
        """Those of the last indexed content that this one follows in a document; none where there is none."""
        async with self._database.transaction(scope) as transaction:
            former = await self._repository.find_former_content(transaction, blob_id)
            if former is None:
                return {}
            rows = await self._repository.list_embedded_passages(
                transaction, former["id"], model, _MOST_PASSAGES
            )
        try:
            key = await self._keys.open(former)
            return await asyncio.to_thread(_read, key.material, rows)
        except (DecryptionError, KeyDestroyedError):
            # All of it is embedded again: what is damaged in an earlier version is no reason to fail.
            _log.warning("former_passages_unreadable", blob_id=str(former["id"]))
            return {}


def _read(key: bytes, rows: Sequence[Record]) -> KnownVectors:
    found: dict[str, Vectors] = {}
    for row in rows:
        digest = open_row(key, row).digest
        if digest:
            found[digest] = read_vector(row["embedding"])
    return found
