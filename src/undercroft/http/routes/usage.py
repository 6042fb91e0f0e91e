"""How much is kept, and how much may be."""

from typing import Any

from fastapi import APIRouter

from undercroft.http.callers import KnownDocumentReader
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import UsageObject
from undercroft.http.openai.contract import errors
from undercroft.identity.models import Kind

router = APIRouter(tags=["usage"], route_class=NativeRoute)


@router.get("/v1/usage", summary="Get the usage", response_model=UsageObject, responses=errors())
async def get_usage(caller: KnownDocumentReader, services: ServicesDependency) -> dict[str, Any]:
    """How many bytes of documents and uploads the caller and their tenant keep, and the most they may.

    Guests are told their own alone.
    """
    usage, quotas = await services.usage.read(caller), services.usage.quotas
    tenant = {"bytes": usage.tenant_bytes, "quota_bytes": quotas.tenant_bytes}
    return {
        "object": "usage",
        "user": {"bytes": usage.user_bytes, "quota_bytes": quotas.user_bytes},
        "tenant": None if caller.kind is Kind.GUEST else tenant,
    }
