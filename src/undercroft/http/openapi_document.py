"""The OpenAPI document, written when it is first asked for.

Writing it takes a processor most of a second: at every start it would keep everybody waiting for what few read, and on
the event loop it would hold up every stream.
"""

import asyncio
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from undercroft.http.openai.contract import error_schemas

PATH: Final = "/openapi.json"


class DocumentedApplication(FastAPI):
    """FastAPI, whose document has the errors' schemas too."""

    def openapi(self) -> dict[str, Any]:
        """The document; of a finished application, it is made once."""
        document = super().openapi()
        document["components"]["schemas"].update(error_schemas())
        return document


def serve_document(application: DocumentedApplication) -> None:
    """Serve the application's document at ``PATH``."""
    writing = asyncio.Lock()
    written: list[bytes] = []

    async def get_document(_: Request) -> Response:
        async with writing:
            if not written:
                written.append(await asyncio.to_thread(_write, application))
        return Response(written[0], media_type="application/json")

    application.add_route(PATH, get_document, include_in_schema=False)


def _write(application: DocumentedApplication) -> bytes:
    return bytes(JSONResponse(application.openapi()).body)
