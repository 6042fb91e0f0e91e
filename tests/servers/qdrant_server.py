"""What is asked of Qdrant's REST API, answered by the local mode of its own client: no server was to be had.

It shows that what is sent can be read again by the client's own models of the API, and nothing of how one searches.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import web
from pydantic import BaseModel
from qdrant_client import AsyncQdrantClient, models

Handler: TypeAlias = Callable[[web.Request], Awaitable[object]]


class Qdrant:
    """The routes."""

    def __init__(self) -> None:
        self._client = AsyncQdrantClient(":memory:")

    def routes(self) -> list[web.RouteDef]:
        """Those that are asked."""
        one = "/collections/{name}"
        return [
            web.get("/collections", _answer(self._list)),
            web.get(f"{one}/exists", _answer(self._exists)),
            web.put(one, _answer(self._create)),
            web.delete(one, _answer(self._drop)),
            web.put(f"{one}/index", _answer(self._index)),
            web.put(f"{one}/points", _answer(self._put)),
            web.post(f"{one}/points/delete", _answer(self._remove)),
            web.post(f"{one}/points", _answer(self._retrieve)),
            web.post(f"{one}/points/scroll", _answer(self._scroll)),
            web.post(f"{one}/points/query", _answer(self._query)),
        ]

    async def _list(self, request: web.Request) -> object:
        del request
        return await self._client.get_collections()

    async def _exists(self, request: web.Request) -> object:
        return {"exists": await self._client.collection_exists(request.match_info["name"])}

    async def _create(self, request: web.Request) -> object:
        asked = models.CreateCollection.model_validate(await request.json())
        assert asked.vectors is not None
        return await self._client.create_collection(
            request.match_info["name"], vectors_config=asked.vectors
        )

    async def _drop(self, request: web.Request) -> object:
        return await self._client.delete_collection(request.match_info["name"])

    async def _index(self, request: web.Request) -> object:
        asked = models.CreateFieldIndex.model_validate(await request.json())
        return await self._client.create_payload_index(
            request.match_info["name"], asked.field_name, field_schema=asked.field_schema
        )

    async def _put(self, request: web.Request) -> object:
        asked = models.PointsList.model_validate(await request.json())
        assert request.query["wait"] == "true"
        return await self._client.upsert(request.match_info["name"], asked.points)

    async def _remove(self, request: web.Request) -> object:
        asked = models.PointIdsList.model_validate(await request.json())
        assert request.query["wait"] == "true"
        return await self._client.delete(request.match_info["name"], asked)

    async def _retrieve(self, request: web.Request) -> object:
        asked = models.PointRequest.model_validate(await request.json())
        return await self._client.retrieve(request.match_info["name"], asked.ids)

    async def _scroll(self, request: web.Request) -> object:
        asked = models.ScrollRequest.model_validate(await request.json())
        assert asked.limit is not None
        points, following = await self._client.scroll(
            request.match_info["name"], offset=asked.offset, limit=asked.limit
        )
        return {"points": points, "next_page_offset": following}

    async def _query(self, request: web.Request) -> object:
        asked = models.QueryRequest.model_validate(await request.json())
        assert isinstance(asked.query, models.NearestQuery)
        assert asked.limit is not None
        return await self._client.query_points(
            request.match_info["name"],
            query=asked.query,
            query_filter=asked.filter,
            limit=asked.limit,
            with_payload=False,
        )


def _answer(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        try:
            result = await handler(request)
        except ValueError as error:
            return web.json_response({"status": {"error": str(error)}, "time": 0.0}, status=404)
        return web.json_response({"result": _plain(result), "status": "ok", "time": 0.0})

    return answer


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


@asynccontextmanager
async def serving(port: int = 0) -> AsyncGenerator[str]:
    """The address of one, in this process."""
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.add_routes(Qdrant().routes())
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
