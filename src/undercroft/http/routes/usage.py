"""How much is kept, and how much may be."""

from typing import Any

from fastapi import APIRouter

from undercroft.http.callers import KnownDocumentReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import UsageObject
from undercroft.http.openai.contract import errors

router = APIRouter(tags=["usage"], route_class=NativeRoute)


@router.get("/v1/usage", summary="Get the usage", response_model=UsageObject, responses=errors())
async def get_usage(caller: KnownDocumentReader, services: ServicesDependency) -> dict[str, Any]:
    """How many bytes of documents and uploads the caller and their tenant keep, and the most they may."""
    usage, quotas = await services.usage.read(caller), services.usage.quotas
    return {
        "object": "usage",
        "user": {"bytes": usage.user_bytes, "quota_bytes": quotas.user_bytes},
        "tenant": {"bytes": usage.tenant_bytes, "quota_bytes": quotas.tenant_bytes},
    }
