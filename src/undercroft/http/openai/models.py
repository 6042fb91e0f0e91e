"""The Models API."""

from typing import Any

from fastapi import APIRouter

from undercroft.chat.providers.protocol import ModelInfo
from undercroft.chat.providers.registry import ModelNotFoundError
from undercroft.http.callers import ModelUser
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.services import Services
from undercroft.http.wire import JsonObject

router = APIRouter(tags=["models"], route_class=AuthenticatedRoute)


@router.get("/v1/models", summary="List models", responses=errors())
async def list_models(caller: ModelUser, services: ServicesDependency) -> dict[str, Any]:
    """Every model that can be asked now. A server that does not answer is left out and named."""
    del caller
    models, failures = await _models(services)
    body: JsonObject = {"object": "list", "data": models}
    if failures:
        body["undercroft"] = {"unavailable": failures}
    return body


@router.get("/v1/models/{model:path}", summary="Get a model", responses=errors(404))
async def get_model(model: str, caller: ModelUser, services: ServicesDependency) -> dict[str, Any]:
    """One model."""
    del caller
    models, _ = await _models(services)
    for offered in models:
        if offered["id"] == model:
            return offered
    raise ModelNotFoundError(model)


async def _models(services: Services) -> tuple[list[JsonObject], list[str]]:
    listing = await services.chat.models.list_models()
    embedding = ModelInfo(services.retrieval.embedder.model.name, "undercroft")
    models = [*listing.models, embedding]
    return [_render(model) for model in models], sorted(listing.failures)


def _render(model: ModelInfo) -> JsonObject:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created or 0,
        "owned_by": model.owned_by,
    }
