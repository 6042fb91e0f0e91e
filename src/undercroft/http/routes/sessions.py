"""Signing in and out. Tokens travel in bodies and the Authorization header, never in cookies or addresses."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.account_views import (
    SessionChallengeObject,
    SessionObject,
    SessionTokensObject,
    client_of,
    render_challenge,
    render_session,
    render_tokens,
    require_session_id,
)
from undercroft.http.callers import EnrollingKeyHolder, KeyHolder
from undercroft.http.deps import NativeRoute, PublicRoute, ServicesDependency
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import RequestBody, page_of
from undercroft.identity.accounts.passwords import LONGEST
from undercroft.identity.second_factors.models import Challenge
from undercroft.identity.sessions.models import SESSION_PREFIX, SessionTokens
from undercroft.kit.ids import render_id

public_router = APIRouter(tags=["sessions"], route_class=PublicRoute)
router = APIRouter(tags=["sessions"], route_class=NativeRoute)

Tenant = Annotated[str, Field(min_length=1, max_length=200)]
Email = Annotated[str, Field(min_length=3, max_length=320)]
Password = Annotated[
    str, Field(min_length=1, max_length=LONGEST, json_schema_extra={"format": "password"})
]


class SignInBody(RequestBody):
    """Who somebody says they are, and their proof."""

    tenant: Tenant
    email: Email
    password: Password


class ChallengeBody(RequestBody):
    """What signing in has answered, and a code of one's app or a recovery code."""

    challenge: Annotated[str, Field(min_length=1, max_length=100)]
    code: Annotated[str, Field(min_length=1, max_length=100)]


class RefreshBody(RequestBody):
    """The refresh token that was given last."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=100)]


@public_router.post(
    "/v1/sessions",
    summary="Sign in",
    status_code=201,
    response_model=SessionTokensObject,
    responses={
        200: {
            "model": SessionChallengeObject,
            "description": "The person has a second factor: answer the challenge with it.",
        },
        **answers(201, "The session's tokens.", "Location"),
        **errors(429),
    },
)
async def create_session(
    body: SignInBody, request: Request, services: ServicesDependency
) -> JSONResponse:
    """Open a session with a password, or get the challenge that asks for the second factor as well.

    Whatever is wrong, the answer is the same, and it takes as long.
    """
    opened = await services.people.sign_in.sign_in(
        body.tenant, body.email, body.password, client_of(request)
    )
    if isinstance(opened, Challenge):
        return JSONResponse(render_challenge(opened))
    return _show_session(opened)


@public_router.post(
    "/v1/sessions/second-factor",
    summary="Sign in with a second factor",
    status_code=201,
    response_model=SessionTokensObject,
    responses={**answers(201, "The session's tokens.", "Location"), **errors(429)},
)
async def answer_challenge(
    body: ChallengeBody, request: Request, services: ServicesDependency
) -> JSONResponse:
    """Answer a sign-in's challenge with a code of one's app, or a recovery code. Each is good once."""
    tokens = await services.people.sign_in.answer(body.challenge, body.code, client_of(request))
    return _show_session(tokens)


@public_router.post(
    "/v1/sessions/refresh",
    summary="Refresh a session",
    response_model=SessionTokensObject,
    responses=errors(),
)
async def refresh_session(body: RefreshBody, services: ServicesDependency) -> JSONResponse:
    """Get another access token and the next refresh token. One that was replaced ends the session."""
    tokens = await services.people.sessions.refresh(body.refresh_token)
    return JSONResponse(render_tokens(tokens))


@router.get(
    "/v1/sessions",
    summary="List one's sessions",
    response_model=Page[SessionObject],
    responses=errors(404),
)
async def list_sessions(
    caller: KeyHolder, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """Where the caller is signed in, oldest first."""
    found = await services.people.sessions.list_sessions(
        caller, after=None if after is None else require_session_id(after, "after"), limit=limit + 1
    )
    return page_of([render_session(session) for session in found], limit)


@router.get(
    "/v1/sessions/{session_id}",
    summary="Get one of one's sessions",
    response_model=SessionObject,
    responses=errors(404),
)
async def get_session(
    session_id: str, caller: KeyHolder, services: ServicesDependency
) -> dict[str, Any]:
    """One session that has not ended."""
    return render_session(
        await services.people.sessions.get_session(caller, require_session_id(session_id))
    )


@router.delete(
    "/v1/sessions/{session_id}",
    summary="Sign out",
    status_code=204,
    response_class=Response,
    responses=errors(404),
)
async def delete_session(
    session_id: str, caller: EnrollingKeyHolder, services: ServicesDependency
) -> Response:
    """End a session, this one or another: from now on none of its tokens is good."""
    await services.people.sessions.end_session(caller, require_session_id(session_id))
    return Response(status_code=204)


@router.delete(
    "/v1/sessions",
    summary="Sign out elsewhere",
    status_code=204,
    response_class=Response,
    responses=errors(),
)
async def delete_other_sessions(caller: KeyHolder, services: ServicesDependency) -> Response:
    """End every session of the caller's but the one they ask by."""
    await services.people.sessions.end_other_sessions(caller)
    return Response(status_code=204)


def _show_session(tokens: SessionTokens) -> JSONResponse:
    location = f"/v1/sessions/{render_id(SESSION_PREFIX, tokens.session_id)}"
    return JSONResponse(render_tokens(tokens), 201, {"Location": location})
