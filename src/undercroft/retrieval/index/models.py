"""What is written to the index."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from undercroft.retrieval.chunking import Chunk
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.parsing.models import ExtractedDocument

INDEX_JOB: Final = "index_blob"
FORGET_JOB: Final = "forget_blob"
REWEIGHT_JOB: Final = "reweight_terms"


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """A chunk with its text.

    Attributes:
        searchable: The text with the title and headings above it: what is embedded and whose words are indexed, so
            that a passage is also found by what it is about.
    """

    chunk: Chunk
    text: str
    searchable: str

    @property
    def digest(self) -> str:
        """By which the same text is found again in another version."""
        return digest_text(self.searchable)


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A chunk as it is stored: its text encrypted; its words go into the index.

    Attributes:
        sealed_text: Text and headings, by :func:`~undercroft.retrieval.passages.seal_passage`.
        searchable: As in :class:`IndexedChunk`.
    """

    chunk: Chunk
    sealed_text: bytes
    searchable: str


@dataclass(frozen=True, slots=True)
class EmbeddedChunks:
    """The chunks of one content.

    Attributes:
        dictionary: By which their words are taken to their stems.
        vectors: Of each model that has embedded them: unit vectors, ``(len(chunks), dimensions)``, row for row.
    """

    blob_id: UUID
    dictionary: str
    chunks: Sequence[SealedChunk]
    vectors: Mapping[EmbeddingModel, npt.NDArray[np.float32]]


def with_context(document: ExtractedDocument, chunk: Chunk) -> IndexedChunk:
    """A chunk under the title of its document and the headings above it."""
    text = document.text[chunk.start : chunk.end]
    return IndexedChunk(chunk, text, searchable_text(text, document.title, chunk.headings))


def searchable_text(text: str, title: str | None, headings: Sequence[str]) -> str:
    """What is embedded of a passage: the text below what of its title and headings is not in it."""
    context = [line for line in (title, *headings) if line and line not in text]
    return "\n".join([*dict.fromkeys(context), text])


def digest_text(searchable: str) -> str:
    """By which the same text is found again in another version."""
    return hashlib.sha256(searchable.encode(errors="surrogatepass")).hexdigest()
