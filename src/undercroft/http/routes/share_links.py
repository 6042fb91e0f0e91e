"""Share links: what is shared with whoever holds a token."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from undercroft.http.callers import SharingReader, SharingWriter
from undercroft.http.deps import NativeRoute, PublicRoute, ServicesDependency
from undercroft.http.objects import Page, Shown, Time
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.sharing_views import (
    GrantObject,
    TermsBody,
    read_terms,
    render_grant,
    require_resource,
)
from undercroft.http.wire import RequestBody, page_of, render_time, require_id
from undercroft.kit.ids import render_id
from undercroft.ledger.models import GRANT_PREFIX
from undercroft.sharing.links.models import LINK_PREFIX, CodeSent, LinkTerms, ShareLink

router = APIRouter(tags=["sharing"], route_class=NativeRoute)
public_router = APIRouter(tags=["sharing"], route_class=PublicRoute)


class CreateShareLink(TermsBody):
    """What the link is to, and on which terms."""

    resource: Annotated[str, Field(max_length=64)]
    passcode: Annotated[
        str | None, Field(min_length=6, max_length=128, description="Its holder has to know it.")
    ] = None
    email: Annotated[
        str | None,
        Field(
            max_length=320,
            pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$",
            description="A code is sent there, which its holder has to have.",
        ),
    ] = None
    one_time: Annotated[bool, Field(description="It opens once.")] = False


class RedeemShareLink(RequestBody):
    """A link's token, and what it asks for besides."""

    token: Annotated[str, Field(max_length=100)]
    passcode: Annotated[str | None, Field(max_length=128)] = None
    code: Annotated[str | None, Field(max_length=16)] = None


class ShareLinkObject(Shown):
    """A share link. Its token is not shown again."""

    id: str
    object: Literal["share_link"]
    grant: str
    one_time: bool
    redemptions: int
    passcode: bool
    step_up: bool
    created_at: Time


class NewShareLinkObject(Shown):
    """A new share link, with its token."""

    id: str
    object: Literal["share_link"]
    grant: GrantObject
    token: Annotated[str, Field(description="Shown this once.")]


class RedeemedObject(Shown):
    """An access token for what the link is to."""

    id: str
    object: Literal["share_link.redeemed"]
    grant: str
    access_token: str
    token_type: Literal["Bearer"]
    expires_at: Time


class ChallengeObject(Shown):
    """A code was sent; redeem the link again with it."""

    id: str
    object: Literal["share_link.challenge"]
    needs: Literal["code"]


@router.post(
    "/v1/share-links",
    summary="Make a share link",
    status_code=201,
    response_model=NewShareLinkObject,
    responses={**answers(201, "The link with its token.", "Location"), **errors(403, 404, 409)},
)
async def create_share_link(
    body: CreateShareLink, caller: SharingWriter, services: ServicesDependency, response: Response
) -> dict[str, Any]:
    """Share something with whoever holds the token. Hand it on in the body of a message, not in an address."""
    wanted = LinkTerms(read_terms(body), body.passcode, body.email, body.one_time)
    link = await services.sharing.share_links.create(
        caller, require_resource(body.resource), wanted
    )
    response.headers["Location"] = f"/v1/grants/{render_id(GRANT_PREFIX, link.grant.id)}"
    return {
        "id": render_id(LINK_PREFIX, link.id),
        "object": "share_link",
        "grant": render_grant(link.grant),
        "token": link.token,
    }


@router.get(
    "/v1/share-links",
    summary="List share links",
    response_model=Page[ShareLinkObject],
    responses=errors(404),
)
async def list_share_links(
    caller: SharingReader, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """Those that you made, the oldest first. To end one, revoke its grant."""
    last = None if after is None else require_id(LINK_PREFIX, "share link", after, "after")
    links = await services.sharing.share_links.list_links(caller, after=last, limit=limit + 1)
    return page_of(list(map(_render, links)), limit)


@public_router.post(
    "/v1/share-links/redeem",
    summary="Open a share link",
    response_model=RedeemedObject | ChallengeObject,
    responses=errors(403, 404),
)
async def redeem_share_link(body: RedeemShareLink, services: ServicesDependency) -> dict[str, Any]:
    """Anybody may who holds it. Its access token is good for an hour at most, and opens what the link is to."""
    redeemed = await services.sharing.share_links.redeem(body.token, body.passcode, body.code)
    link_id = render_id(LINK_PREFIX, redeemed.link_id)
    if isinstance(redeemed, CodeSent):
        return {"id": link_id, "object": "share_link.challenge", "needs": "code"}
    return {
        "id": link_id,
        "object": "share_link.redeemed",
        "grant": render_id(GRANT_PREFIX, redeemed.grant_id),
        "access_token": redeemed.access_token,
        "token_type": "Bearer",
        "expires_at": render_time(redeemed.expires_at),
    }


def _render(link: ShareLink) -> dict[str, Any]:
    return {
        "id": render_id(LINK_PREFIX, link.id),
        "object": "share_link",
        "grant": render_id(GRANT_PREFIX, link.grant_id),
        "one_time": link.is_one_time,
        "redemptions": link.redemptions,
        "passcode": link.has_passcode,
        "step_up": link.has_step_up,
        "created_at": render_time(link.created_at),
    }
