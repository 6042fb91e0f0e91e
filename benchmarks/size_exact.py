"""What an exact search over a library finds, by numpy, and how large its tables and indexes are."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt

from benchmarks.permission_seed import lift_rules, restore_rules
from tests.conftest import Member
from undercroft.kit.database import Database

_AT_ONCE: Final = 50_000
_COPY_HEADER: Final = 19
_COPY_TRAILER: Final = 2


@dataclass(frozen=True, slots=True)
class Nearest:
    """How near each passage is to some questions.

    Attributes:
        chunk_ids: Of the passages.
        contents: Whose passage each is, as the bytes of its id.
        scores: Of each question with each passage.
    """

    chunk_ids: npt.NDArray[np.int64]
    contents: npt.NDArray[np.void]
    scores: npt.NDArray[np.float32]

    @property
    def passages(self) -> int:
        """How many passages there are."""
        return len(self.chunk_ids)

    @property
    def questions(self) -> int:
        """Of how many questions it is known."""
        return len(self.scores)

    @classmethod
    async def read(cls, url: str, owner: Member, questions: npt.NDArray[np.float32]) -> "Nearest":
        """Compare the questions, in the precision of the index, with all of the tenant's passages."""
        copied = io.BytesIO()
        connection = await asyncpg.connect(url)
        try:
            await lift_rules(connection)
            await connection.copy_from_query(
                "SELECT chunk_id, blob_id, embedding FROM chunk_embeddings WHERE tenant_id = $1",
                owner.tenant_id,
                output=copied,
                format="binary",
            )
            await restore_rules(connection)
        finally:
            await connection.close()
        dimensions = questions.shape[1]
        row = np.dtype(
            [
                ("before", "V6"),
                ("chunk_id", ">i8"),
                ("length", ">i4"),
                ("content", "V16"),
                ("between", "V8"),
                ("vector", ">f2", (dimensions,)),
            ]
        )
        rows = np.frombuffer(copied.getbuffer()[_COPY_HEADER:-_COPY_TRAILER], row)
        asked = questions.astype(np.float16).astype(np.float32)
        scores = [
            asked @ rows["vector"][start : start + _AT_ONCE].astype(np.float32).T
            for start in range(0, len(rows), _AT_ONCE)
        ]
        return cls(
            rows["chunk_id"].astype(np.int64),
            rows["content"].copy(),
            np.concatenate(scores, axis=1),
        )

    async def find_places(
        self, database: Database, owner: Member, collection: UUID
    ) -> npt.NDArray[np.int64]:
        """Places of the passages of a collection's documents."""
        async with database.transaction(owner) as transaction:
            rows: Sequence[Any] = await transaction.fetch(
                "SELECT d.current_blob_id FROM collection_documents AS m"
                " JOIN documents AS d ON d.id = m.document_id WHERE m.collection_id = $1",
                collection,
            )
        contents = np.frombuffer(b"".join(row[0].bytes for row in rows), "V16")
        return np.flatnonzero(np.isin(_numbers(self.contents), _numbers(contents)))

    def exact(self, question: int, places: npt.NDArray[np.int64], count: int) -> set[int]:
        """The chunks nearest to a question among these."""
        scores = self.scores[question, places]
        best = np.argsort(-scores, kind="stable")[:count]
        return set(self.chunk_ids[places[best]].tolist())


def _numbers(contents: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """The latter half of each id, by which those of the library differ."""
    return contents.view(">i8").reshape(-1, 2)[:, 1].astype(np.int64)


async def read_sizes(url: str, passages: int) -> dict[str, Any]:
    """Bytes for each passage of the tables that hold them, with what is stored beside their rows, and of each index."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(_SIZES)
    finally:
        await connection.close()
    sizes = {row["name"]: round(row["bytes"] / passages, 1) for row in rows}
    return {"total": round(sum(sizes.values()), 1), **sizes}


_SIZES: Final = """
SELECT c.relname AS name, CASE c.relkind WHEN 'r' THEN pg_table_size(c.oid) ELSE pg_relation_size(c.oid) END AS bytes
FROM pg_class AS c
LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
WHERE coalesce(i.indrelid, c.oid) IN (
    'chunks'::regclass, 'chunk_embeddings'::regclass, 'term_statistics'::regclass
)
ORDER BY 2 DESC
"""
