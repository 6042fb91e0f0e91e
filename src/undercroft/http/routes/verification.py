"""Verification, for anybody: what has become of what a proof is about."""

from typing import Any, Final

from fastapi import APIRouter, Request

from undercroft.http.deps import PublicRoute, ServicesDependency
from undercroft.http.json_bodies import documented_body
from undercroft.http.openai.contract import errors
from undercroft.http.verification_views import VerificationObject, render_verdict

public_router = APIRouter(tags=["verification"], route_class=PublicRoute)

_NOTE: Final = {"type": "string", "description": "A receipt or a proof: a signed note."}
_JSON: Final = {"type": "object", "description": "A consent's receipt, or a provenance bundle."}


@public_router.post(
    "/v1/verify",
    summary="Verify a proof",
    response_model=VerificationObject,
    responses=errors(413, 429),
    openapi_extra=documented_body(
        ("text/plain", _NOTE), ("application/json", _JSON), ("application/ld+json", _JSON)
    ),
)
async def verify_proof(request: Request, services: ServicesDependency) -> dict[str, Any]:
    """A receipt, a consent's receipt, a provenance bundle or a proof, byte for byte as the service answered it."""
    services.client_rates.count(request)
    return render_verdict(await services.proof.verification.verify(await request.body()))
