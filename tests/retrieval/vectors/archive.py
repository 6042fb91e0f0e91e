"""Many documents of one passage each, and readers of some of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from tests import rows
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_at_size import MODEL, draw_vectors, fill
from undercroft.kit.database import Database
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.retrieval.filters import Filter
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.vectors.protocol import Question, VectorIndex

DOCUMENTS: Final = 1_000
SHARES: Final = (0.001, 0.01, 0.1, 1.0)
SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Archive:
    """Documents of one passage each, all of them one person's.

    Attributes:
        document_ids: In their order, as everything below.
        readers: Who was granted so large a share of the documents, and which ones.
    """

    owner: Member
    document_ids: Sequence[UUID]
    chunk_ids: Sequence[int]
    vectors: npt.NDArray[np.float32]
    readers: Mapping[float, tuple[Member, npt.NDArray[np.int64]]]

    def nearest(
        self, places: npt.NDArray[np.int64], vector: npt.NDArray[np.float32], count: int
    ) -> list[int]:
        """The chunks that an exact search over these documents finds."""
        order = np.argsort(-(self.vectors[places] @ vector), kind="stable")[:count]
        return [self.chunk_ids[place] for place in places[order]]


async def fill_archive(
    database: Database, urls: DatabaseUrls, make_scope: MakeScope, documents: int = DOCUMENTS
) -> Archive:
    """A tenant with an archive."""
    await register_model(urls.migration, *MODEL)
    ann, draw = await make_scope(), np.random.default_rng(1)
    vectors = draw_vectors(documents, draw)
    readers = {
        share: (
            await make_scope(ann.tenant_id),
            draw.permutation(documents)[: max(1, round(share * documents))],
        )
        for share in SHARES
    }
    async with database.transaction(ann) as transaction:
        await rows.insert_key(transaction, ann)
        ids = await fill(transaction, vectors)
        for reader, places in readers.values():
            granted = [ids[place] for place in places]
            await transaction.execute(_GRANTS, granted, reader.principal_id)
        chunks = await transaction.fetch("SELECT id FROM chunks ORDER BY blob_id")
    return Archive(ann, ids, [row["id"] for row in chunks], vectors, readers)


_GRANTS = """
INSERT INTO grants (id, tenant_id, document_id, grantor_id, user_id, actions)
SELECT gen_random_uuid(), current_tenant(), id, current_principal(), $2, '{search}' FROM unnest($1::uuid[]) AS id
"""


def ask(
    vector: npt.NDArray[np.float32],
    document_ids: Sequence[UUID] = (),
    collection_ids: Sequence[UUID] = (),
    model_name: str = MODEL[0],
    condition: Filter | None = None,
) -> Question:
    """A question to these, or to everything that the caller may search."""
    query = SearchQuery(
        collection_ids,
        "",
        SHOWN,
        document_ids=document_ids,
        is_everywhere=not (document_ids or collection_ids),
        filter=condition,
    )
    return Question(query, model_name, vector)


async def find(
    index: VectorIndex, scope: Scope, question: Question, limit: int = SHOWN
) -> list[int]:
    """What it proposes, nearest first."""
    return list(await index.find_nearest(scope, question, limit))
