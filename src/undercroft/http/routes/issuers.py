"""Issuers of tokens from outside (OpenID Connect): whom a product's own users sign in with."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import Administrator
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.identity_objects import IssuerObject
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import JsonObject, RequestBody, page_of, render_time, require_id
from undercroft.identity.issuers.models import (
    ISSUER_PREFIX,
    Issuer,
    Registration,
    RequiredAuthentication,
)
from undercroft.kit.ids import render_id

router = APIRouter(tags=["identity"], route_class=NativeRoute)

_Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Those that can be pinned: signatures by private keys alone."""

_Value = Annotated[str, Field(pattern="^[!-~]{1,200}$")]


class RegisterIssuer(RequestBody):
    """An issuer whose tokens are taken."""

    issuer: Annotated[
        str, Field(max_length=500, description="Its URL, as its tokens have it in `iss`.")
    ]
    audience: Annotated[
        str,
        Field(
            max_length=500,
            description="Ends with the tenant's id, `tenant_...`, or is listed for it by the operator.",
        ),
    ]
    algorithms: Annotated[list[_Algorithm], Field(min_length=1, max_length=10)]
    subject_claim: Annotated[str, Field(pattern="^[!-~]{1,100}$")] = "sub"
    creates_users: bool = True
    trusts_addresses: bool = False
    acr_values: Annotated[
        list[_Value], Field(max_length=10, description="A token's `acr` has to be one of these.")
    ] = Field(default_factory=list[_Value])
    amr_values: Annotated[
        list[_Value], Field(max_length=10, description="A token's `amr` has to have all of these.")
    ] = Field(default_factory=list[_Value])
    max_auth_age: Annotated[
        int | None,
        Field(ge=60, le=31_536_000, description="Seconds since a token's `auth_time`, at most."),
    ] = None


@router.post(
    "/v1/issuers",
    summary="Register an issuer",
    status_code=201,
    response_model=IssuerObject,
    responses={**answers(201, "The issuer.", "Location"), **errors(409)},
)
async def register_issuer(
    body: RegisterIssuer, caller: Administrator, services: ServicesDependency
) -> Response:
    """Whoever brings a token that it signed for this tenant is a user of the tenant. Admins only."""
    registration = Registration(
        body.issuer,
        body.audience,
        tuple(dict.fromkeys(body.algorithms)),
        body.subject_claim,
        body.creates_users,
        body.trusts_addresses,
        RequiredAuthentication(
            tuple(dict.fromkeys(body.acr_values)),
            tuple(dict.fromkeys(body.amr_values)),
            body.max_auth_age,
        ),
    )
    made = _render(await services.people.issuers.register(caller, registration))
    return JSONResponse(made, 201, {"Location": f"/v1/issuers/{made['id']}"})


@router.get(
    "/v1/issuers",
    summary="List issuers",
    response_model=Page[IssuerObject],
    responses=errors(404),
)
async def list_issuers(
    caller: Administrator, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """The tenant's issuers, oldest first. Admins only."""
    place = None if after is None else require_id(ISSUER_PREFIX, "issuer", after, "after")
    issuers = await services.people.issuers.list_issuers(caller, place, limit + 1)
    return page_of([_render(issuer) for issuer in issuers], limit)


@router.delete(
    "/v1/issuers/{issuer_id}",
    summary="Delete an issuer",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def delete_issuer(
    issuer_id: str, caller: Administrator, services: ServicesDependency
) -> Response:
    """No token of it is taken any more; its users stay. Admins only."""
    await services.people.issuers.delete(caller, require_id(ISSUER_PREFIX, "issuer", issuer_id))
    return Response(status_code=204)


def _render(issuer: Issuer) -> JsonObject:
    registration = issuer.registration
    return {
        "id": render_id(ISSUER_PREFIX, issuer.id),
        "object": "issuer",
        "issuer": registration.url,
        "audience": registration.audience,
        "algorithms": list(registration.algorithms),
        "subject_claim": registration.subject_claim,
        "creates_users": registration.creates_users,
        "trusts_addresses": registration.trusts_addresses,
        "acr_values": list(registration.authentication.acr_values),
        "amr_values": list(registration.authentication.amr_values),
        "max_auth_age": registration.authentication.longest_age,
        "created_at": render_time(issuer.created_at),
    }
