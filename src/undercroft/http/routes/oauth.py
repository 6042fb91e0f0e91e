"""OAuth 2.0 endpoints: token exchange (RFC 8693), introspection (RFC 7662) and revocation (RFC 7009)."""

import hmac
from typing import Annotated, Final

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import ActingService, TokenReader, TokenRevoker
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.json_bodies import documented_body
from undercroft.http.oauth_forms import FORM, OAuthForm, read_form
from undercroft.http.objects import IntrospectionObject, IssuedTokenObject
from undercroft.http.openai.contract import oauth_errors
from undercroft.http.services import Services
from undercroft.http.wire import JsonObject, render_time
from undercroft.identity.keys import is_access_token, is_well_formed
from undercroft.identity.models import Permission
from undercroft.identity.permissions import is_allowed
from undercroft.identity.sessions.tokens import REFRESH_TOKEN_PREFIX
from undercroft.identity.tokens.models import LiveToken
from undercroft.identity.tokens.service import TokenService
from undercroft.kit.errors import InvalidRequestError
from undercroft.ledger.leaves import user_reference
from undercroft.sharing.links.models import LINK_TOKEN_PREFIX
from undercroft.sharing.links.tokens import LinkTokens

router = APIRouter(tags=["oauth"], route_class=NativeRoute)

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
API_KEY: Final = "urn:undercroft:token-type:api_key"
_NO_CACHE: Final = {"Pragma": "no-cache"}
"""As RFC 6749 has it, section 5.1, beside the `Cache-Control: no-store` of every answer."""
_IS_OF_TYPE: Final = {ACCESS_TOKEN: is_access_token, API_KEY: is_well_formed}

_Token = Annotated[str, Field(max_length=16_384)]


class TokenExchange(OAuthForm):
    """A service's request for a token with which it acts for a user."""

    grant_type: Annotated[str, Field(max_length=200, description=f"`{GRANT}`.")]
    subject_token: Annotated[_Token, Field(description="The user's access token or API key.")]
    subject_token_type: Annotated[
        str, Field(max_length=200, description=f"`{ACCESS_TOKEN}` or `{API_KEY}`.")
    ]
    actor_token: Annotated[
        _Token | None, Field(description="If given: the key that the request is authenticated by.")
    ] = None
    actor_token_type: Annotated[str | None, Field(max_length=200)] = None
    requested_token_type: Annotated[
        str | None, Field(max_length=200, description=f"`{ACCESS_TOKEN}`.")
    ] = None
    scope: Annotated[
        str | None,
        Field(max_length=2000, description="Scopes, separated by spaces; all that both have."),
    ] = None
    resource: Annotated[str | None, Field(max_length=2000, description="Not supported.")] = None
    audience: Annotated[str | None, Field(max_length=2000, description="Not supported.")] = None


class PresentedToken(OAuthForm):
    """A token that something is asked about."""

    token: _Token
    token_type_hint: Annotated[
        str | None, Field(max_length=200, description="Not needed: tokens say what they are.")
    ] = None


@router.post(
    "/v1/oauth/token",
    summary="Exchange a user's token",
    response_model=IssuedTokenObject,
    responses=oauth_errors(415),
    openapi_extra=documented_body((FORM, TokenExchange.model_json_schema())),
)
async def exchange_token(
    request: Request, caller: ActingService, services: ServicesDependency
) -> Response:
    """A service, by its API key, gets a token that carries a user's rights, narrowed to its own, for ten minutes."""
    form = await read_form(request, TokenExchange)
    _require_exchange(form)
    if form.actor_token is not None:
        _require_bearer(request, form)
    requested = None if form.scope is None else form.scope.split(" ")
    issued = await services.people.exchange.exchange(caller, form.subject_token, requested)
    remaining = issued.expires_at - services.clock.now()
    return JSONResponse(
        {
            "access_token": issued.secret,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": max(int(remaining.total_seconds()), 0),
            "scope": " ".join(sorted(issued.scopes)),
        },
        headers=_NO_CACHE,
    )


@router.post(
    "/v1/oauth/introspect",
    summary="Ask whether a token is valid",
    response_model=IntrospectionObject,
    response_model_exclude_unset=True,
    responses=oauth_errors(415),
    openapi_extra=documented_body((FORM, PresentedToken.model_json_schema())),
)
async def introspect_token(
    request: Request, caller: TokenReader, services: ServicesDependency
) -> Response:
    """For services and admins, about tokens of their own tenant. Of any other it says that it is not active."""
    form = await read_form(request, PresentedToken)
    found = await _tokens_of(form, services).introspect(caller, form.token)
    return JSONResponse(
        {"active": False} if found is None else _describe(found, form.token), headers=_NO_CACHE
    )


@router.post(
    "/v1/oauth/revoke",
    summary="Revoke a token",
    response_class=Response,
    responses=oauth_errors(415),
    openapi_extra=documented_body((FORM, PresentedToken.model_json_schema())),
)
async def revoke_token(
    request: Request, caller: TokenRevoker, services: ServicesDependency
) -> Response:
    """End a token at once, with all that was exchanged for it. One that is unknown is answered as any other."""
    form = await read_form(request, PresentedToken)
    await _tokens_of(form, services).revoke(caller, form.token)
    return Response(headers=_NO_CACHE)


def _tokens_of(form: PresentedToken, services: Services) -> TokenService | LinkTokens:
    is_of_link = form.token.startswith(LINK_TOKEN_PREFIX)
    return services.sharing.link_tokens if is_of_link else services.people.tokens


def _require_exchange(form: TokenExchange) -> None:
    if form.grant_type != GRANT:
        raise InvalidRequestError(
            f"The one grant type is {GRANT}.", param="grant_type", code="unsupported_grant_type"
        )
    if form.resource is not None or form.audience is not None:
        raise InvalidRequestError(
            "Tokens are for this service alone; leave resource and audience out.",
            code="invalid_target",
        )
    if form.requested_token_type not in {None, ACCESS_TOKEN}:
        raise InvalidRequestError(
            f"What is issued is {ACCESS_TOKEN}.", param="requested_token_type"
        )
    is_of_type = _IS_OF_TYPE.get(form.subject_token_type)
    if is_of_type is None or not is_of_type(form.subject_token):
        raise InvalidRequestError(
            f"Only tokens of Undercroft's own issue are exchanged: {ACCESS_TOKEN} for an access token (ut_...), "
            f"{API_KEY} for an API key (uk_...).",
            param="subject_token_type",
        )


def _require_bearer(request: Request, form: TokenExchange) -> None:
    """The actor has proved who it is by then: another one's token beside that proof would be one too many."""
    bearer = request.headers["Authorization"].partition(" ")[2].strip()
    is_bearer = hmac.compare_digest(bearer.encode(), (form.actor_token or "").encode())
    if not is_bearer or form.actor_token_type != API_KEY:
        raise InvalidRequestError(
            f"The actor is whoever authenticates the request: leave actor_token out, or repeat that key as {API_KEY}.",
            param="actor_token",
        )


def _describe(token: LiveToken, presented: str) -> JsonObject:
    principal = token.principal
    scopes = sorted(scope for scope in Permission if is_allowed(principal, scope))
    described: JsonObject = {
        "active": True,
        "scope": " ".join(scopes),
        "sub": user_reference(principal.user_id),
        "iat": render_time(token.issued_at),
    }
    if not presented.startswith((REFRESH_TOKEN_PREFIX, LINK_TOKEN_PREFIX)):
        described["token_type"] = "Bearer"  # noqa: S105 - the name of a type
    if token.expires_at is not None:
        described["exp"] = render_time(token.expires_at)
    if principal.actor_id is not None:
        described["act"] = {"sub": user_reference(principal.actor_id)}
    return described
