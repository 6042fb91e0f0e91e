"""Near passages by PostgreSQL itself: one by one, or by pgvector's HNSW index."""

from undercroft.kit.database import Database
from undercroft.kit.scope import Scope
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.vectors.protocol import Question


class PostgresIndex:
    """What `search_vector` finds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = SearchRepository()

    async def find_nearest(self, scope: Scope, question: Question, limit: int) -> dict[int, float]:
        """As the protocol says."""
        query = question.query
        async with self._database.scoped_statement() as connection:
            return await self._repository.search_vector(
                connection,
                scope,
                query.collection_ids,
                question.model_name,
                question.vector,
                exact_limit=question.effort.compared,
                reach=question.effort.reach,
                limit=limit,
                document_ids=query.document_ids,
                is_everywhere=query.is_everywhere,
                path=query.path,
            )
