"""Vectors in Qdrant, by its official client: nothing but ids, vectors and the tenant that they are of.

The client takes half a second to import, so this module is imported only where Qdrant is configured.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from undercroft.kit.circuit import Circuit
from undercroft.kit.clock import Clock
from undercroft.kit.egress import PASSING_STATUSES
from undercroft.retrieval.vectors.errors import RestingIndexError, VectorIndexError
from undercroft.retrieval.vectors.models import Point, Space, prefix_of

_TENANT: Final = "tenant"
_LINKS: Final = 16
"""Of each vector to others of its tenant, in the graph that is searched."""


class Points:
    """The collections of one server, one for each embedding model.

    Five failures in a row, late answers among them, and it is left alone for half a minute.

    Args:
        client: To the server; it is closed with this.
        clock: For how long it is left alone.
        seconds: Deadline of a call.
    """

    def __init__(self, client: AsyncQdrantClient, clock: Clock, *, seconds: float) -> None:
        self._client = client
        self._seconds = seconds
        self._circuit = Circuit(clock)

    async def near(
        self, space: Space, tenant_id: UUID, vector: npt.NDArray[np.float32], limit: int
    ) -> list[int]:
        """Chunks of a tenant near a vector, nearest first, as many if there are."""
        async with self._asking():
            found = await self._client.query_points(
                space.name,
                query=vector.tolist(),
                query_filter=models.Filter(
                    must=[
                        models.FieldCondition(
                            key=_TENANT, match=models.MatchValue(value=str(tenant_id))
                        )
                    ]
                ),
                limit=limit,
                with_payload=False,
            )
        return _numbers([point.id for point in found.points])[:limit]

    async def put(self, space: Space, points: Sequence[Point]) -> None:
        """Have these, whether they were there or not; durable when it returns."""
        async with self._asking():
            await self._client.upsert(
                space.name,
                points=[
                    models.PointStruct(
                        id=point.chunk_id,
                        vector=point.vector.tolist(),
                        payload={_TENANT: str(point.tenant_id)},
                    )
                    for point in points
                ],
                wait=True,
            )

    async def remove(self, space: Space, chunk_ids: Sequence[int]) -> None:
        """Have these no more."""
        async with self._asking():
            await self._client.delete(
                space.name,
                points_selector=models.PointIdsList(points=list(chunk_ids)),
                wait=True,
            )

    async def find(self, space: Space, chunk_ids: Sequence[int]) -> set[int]:
        """Those of the chunks that are there."""
        async with self._asking():
            found = await self._client.retrieve(
                space.name, ids=list(chunk_ids), with_payload=False, with_vectors=False
            )
        return set(_numbers([record.id for record in found]))

    async def list_ids(self, space: Space, first: int, limit: int) -> tuple[list[int], int | None]:
        """The ids that are there, from ``first`` on, and what to go on with."""
        async with self._asking():
            found, following = await self._client.scroll(
                space.name, offset=first, limit=limit, with_payload=False, with_vectors=False
            )
        ids = _numbers([record.id for record in found])
        return ids, None if following is None else _numbers([following])[0]

    async def exists(self, space: Space) -> bool:
        """Whether there is a place for a model's vectors."""
        async with self._asking():
            return await self._client.collection_exists(space.name)

    async def make(self, space: Space, dimensions: int) -> None:
        """Make a place for a model's vectors, each tenant's in a graph of its own: no search crosses tenants."""
        async with self._asking():
            if not await self._client.collection_exists(space.name):
                await self._client.create_collection(
                    space.name,
                    vectors_config=models.VectorParams(
                        size=dimensions,
                        distance=models.Distance.DOT,
                        datatype=models.Datatype.FLOAT16,
                    ),
                    hnsw_config=models.HnswConfigDiff(m=0, payload_m=_LINKS),
                )
            await self._client.create_payload_index(
                space.name,
                _TENANT,
                field_schema=models.KeywordIndexParams(
                    type=models.KeywordIndexType.KEYWORD, is_tenant=True
                ),
                wait=True,
            )

    async def list_names(self, index_id: UUID) -> list[str]:
        """The names of the places that a database has."""
        async with self._asking():
            collections = (await self._client.get_collections()).collections
        return [each.name for each in collections if each.name.startswith(prefix_of(index_id))]

    async def drop(self, name: str) -> None:
        """Drop a place."""
        async with self._asking():
            await self._client.delete_collection(name)

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    @asynccontextmanager
    async def _asking(self) -> AsyncGenerator[None]:
        passed = self._circuit.enter()
        if passed is None:
            raise RestingIndexError
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except (ApiException, QdrantException, OSError, ValueError) as error:
            self._circuit.fail(passed)
            raise _failure(error) from error
        else:
            self._circuit.succeed(passed)
        finally:
            self._circuit.leave(passed)


def _failure(error: Exception) -> VectorIndexError:
    if isinstance(error, UnexpectedResponse) and error.status_code not in PASSING_STATUSES:
        return VectorIndexError(
            f"The vector index answered with status {error.status_code}. Check qdrant_url and qdrant_key."
        )
    return VectorIndexError("The vector index did not answer in time, or nothing that can be read.")


def _numbers(ids: Sequence[object]) -> list[int]:
    """Every id of ours is a number that PostgreSQL has given; what is not was put there by somebody else."""
    return [each for each in ids if isinstance(each, int) and 0 <= each < 2**63]
