"""Consents: asked for by the owner of a thing, given and taken back by whom it is about."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import SharingReader, SharingWriter
from undercroft.http.consent_views import (
    ConsentObject,
    ConsentUseObject,
    WithdrawnConsents,
    render_consent,
    render_use,
    require_consent_id,
    require_notice_id,
)
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.sharing_views import require_resource
from undercroft.http.wire import RequestBody, page_of, require_id
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.sharing.consents.receipts import MEDIA_TYPE

router = APIRouter(tags=["consent"], route_class=NativeRoute)

_Id = Annotated[str, Field(max_length=64)]


class AskForConsent(RequestBody):
    """What to ask whom a thing is about."""

    notice: _Id
    resource: _Id


class AgreeToNotice(RequestBody):
    """Which version of the notice was read."""

    notice_version: Annotated[int, Field(ge=1, le=2_147_483_647)]


@router.post(
    "/v1/consents",
    summary="Ask for consent",
    status_code=201,
    response_model=ConsentObject,
    responses={**answers(201, "The consent, asked for.", "Location"), **errors(404, 409, 410)},
)
async def ask_for_consent(
    body: AskForConsent, caller: SharingWriter, services: ServicesDependency
) -> Response:
    """Ask the data subject of something of the caller's, which may be themselves, to agree to a notice of theirs."""
    notice_id = require_notice_id(body.notice, "notice")
    resource = require_resource(body.resource, "resource")
    shown = render_consent(await services.sharing.consents.ask(caller, notice_id, resource))
    return JSONResponse(shown, 201, {"Location": f"/v1/consents/{shown['id']}"})


@router.get(
    "/v1/consents",
    summary="List consents",
    response_model=Page[ConsentObject],
    responses=errors(404, 410),
)
async def list_consents(
    caller: SharingReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
    role: Annotated[
        Literal["subject", "controller"],
        Query(description="The caller's own consents, or those that they asked others for."),
    ] = "subject",
) -> dict[str, Any]:
    """The newest first, each with what was agreed to, what happened to it and the newest uses made of it."""
    place = None if after is None else require_consent_id(after, "after")
    found = await services.sharing.consents.list_consents(
        caller, asked=role == "controller", after=place, limit=limit + 1
    )
    return page_of([render_consent(record) for record in found], limit)


@router.post(
    "/v1/consents/withdraw-all",
    summary="Withdraw all consents",
    response_model=WithdrawnConsents,
    responses=errors(404, 409, 410),
)
async def withdraw_all_consents(
    caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Take back all that the caller has agreed to."""
    withdrawn = await services.sharing.consents.withdraw_all(caller)
    return {"object": "list", "data": [render_consent(record) for record in withdrawn]}


@router.get(
    "/v1/consents/{consent_id}",
    summary="Get a consent",
    response_model=ConsentObject,
    responses=errors(404, 410),
)
async def get_consent(
    consent_id: str, caller: SharingReader, services: ServicesDependency
) -> dict[str, Any]:
    """For whose it is and for who asked."""
    return render_consent(
        await services.sharing.consents.get(caller, require_consent_id(consent_id))
    )


@router.get(
    "/v1/consents/{consent_id}/uses",
    summary="List the uses of a consent",
    response_model=Page[ConsentUseObject],
    responses=errors(404),
)
async def list_consent_uses(
    consent_id: str,
    caller: SharingReader,
    services: ServicesDependency,
    limit: Limit = 20,
    after: After = None,
) -> dict[str, Any]:
    """What was done under it, by whom and when, the newest first."""
    place = None if after is None else require_id(ENTRY_PREFIX, "entry", after, "after")
    uses = await services.sharing.consents.list_uses(
        caller, require_consent_id(consent_id), after=place, limit=limit + 1
    )
    return page_of([render_use(use) for use in uses], limit)


@router.get(
    "/v1/consents/{consent_id}/receipt",
    summary="Get a consent's receipt",
    response_class=Response,
    responses={
        200: {"description": "JSON-LD, signed.", "content": {MEDIA_TYPE: {}}},
        **errors(404, 410),
    },
)
async def get_consent_receipt(
    consent_id: str, caller: SharingReader, services: ServicesDependency
) -> Response:
    """What was agreed to, as it is now, in terms of DPV; `undercroft verify` verifies it offline."""
    receipt = await services.sharing.consent_receipts.get(caller, require_consent_id(consent_id))
    return Response(receipt, media_type=MEDIA_TYPE)


@router.post(
    "/v1/consents/{consent_id}/give",
    summary="Give consent",
    response_model=ConsentObject,
    responses=errors(404, 409, 410),
)
async def give_consent(
    consent_id: str, body: AgreeToNotice, caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """As whom the thing is about, to the version of the notice that was asked about."""
    record = await services.sharing.consents.give(
        caller, require_consent_id(consent_id), body.notice_version
    )
    return render_consent(record)


@router.post(
    "/v1/consents/{consent_id}/refuse",
    summary="Refuse consent",
    response_model=ConsentObject,
    responses=errors(404, 409, 410),
)
async def refuse_consent(
    consent_id: str, caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """As whom the thing is about."""
    return render_consent(
        await services.sharing.consents.refuse(caller, require_consent_id(consent_id))
    )


@router.post(
    "/v1/consents/{consent_id}/renew",
    summary="Renew consent",
    response_model=ConsentObject,
    responses=errors(404, 409, 410),
)
async def renew_consent(
    consent_id: str, body: AgreeToNotice, caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """To the notice's latest version: what was given goes on, what has expired counts again."""
    record = await services.sharing.consents.renew(
        caller, require_consent_id(consent_id), body.notice_version
    )
    return render_consent(record)


@router.post(
    "/v1/consents/{consent_id}/withdraw",
    summary="Withdraw consent",
    response_model=ConsentObject,
    responses=errors(404, 409, 410),
)
async def withdraw_consent(
    consent_id: str, caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """From the next statement on nothing is shared under it. ``erasure`` says what becomes of the thing."""
    return render_consent(
        await services.sharing.consents.withdraw(caller, require_consent_id(consent_id))
    )
