"""The Embeddings API."""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field

from undercroft.chat.consumption import most_tokens
from undercroft.http.callers import ModelUser
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.rate_limits import counting
from undercroft.http.wire import RequestBody
from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError
from undercroft.metering.models import Spent

router = APIRouter(tags=["embeddings"], route_class=AuthenticatedRoute)

_Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class CreateEmbeddings(RequestBody):
    """Texts to embed. Token numbers are not taken: they would be another model's."""

    input: _Text | Annotated[list[_Text], Field(min_length=1, max_length=256)]
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Annotated[str, Field(max_length=64)] | None = None


@router.post("/v1/embeddings", summary="Create embeddings", responses=errors(404, 429, 502))
async def create_embeddings(
    body: CreateEmbeddings, caller: ModelUser, services: ServicesDependency, request: Request
) -> dict[str, Any]:
    """Unit vectors of texts, by the model that documents are indexed with. Longer texts are cut to its limit."""
    model = services.retrieval.embedder.model
    if body.model not in {None, model.name}:
        raise UndercroftError(
            f"The embedding model '{body.model}' does not exist; this service has '{model.name}'.",
            kind=ErrorKind.NOT_FOUND,
            param="model",
            code="model_not_found",
        )
    if body.dimensions not in {None, model.dimensions}:
        raise InvalidRequestError(
            f"'{model.name}' has {model.dimensions} dimensions, no other number.",
            param="dimensions",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    charge = counting(request, caller)
    wanted = sum(map(most_tokens, texts))
    async with services.metering.metered(charge, model.name, wanted) as metered:
        embeddings = await services.retrieval.embedder.embed_counted(texts)
        metered.spent = Spent(embeddings.tokens)
    return {
        "object": "list",
        "model": model.name,
        "data": [
            {"object": "embedding", "index": index, "embedding": _encode(body, vector)}
            for index, vector in enumerate(embeddings.vectors)
        ],
        "usage": {"prompt_tokens": embeddings.tokens, "total_tokens": embeddings.tokens},
    }


def _encode(body: CreateEmbeddings, vector: np.ndarray[Any, np.dtype[np.float32]]) -> Any:  # noqa: ANN401 - a list or a text
    if body.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()
