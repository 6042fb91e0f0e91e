"""Notices: what people are told before they consent."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse, Response

from undercroft.http.callers import KnownSharingReader, KnownSharingWriter
from undercroft.http.consent_views import NoticeObject, render_notice, require_notice_id
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.objects import Page
from undercroft.http.openai.contract import answers, errors
from undercroft.http.openai.paging import After, Limit
from undercroft.http.wire import RequestBody, page_of
from undercroft.kit.ids import render_id
from undercroft.sharing.consents.models import NOTICE_PREFIX, NoticeContent, NoticeTerms, Party

router = APIRouter(tags=["consent"], route_class=NativeRoute)

_Short = Annotated[str, Field(min_length=1, max_length=200)]
_Sentence = Annotated[str, Field(min_length=1, max_length=1000)]
_Names = Annotated[list[_Short], Field(min_length=1, max_length=50)]


class NamedParty(RequestBody):
    """Somebody who is named in a notice."""

    name: _Short
    contact: _Short


class NoticeVersion(RequestBody):
    """What a notice says."""

    title: _Short
    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    language: Annotated[str, Field(pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}$")] = "en"
    purpose_description: _Sentence
    data_categories: _Names
    controller: NamedParty
    recipients: _Names
    retention: _Sentence
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    jurisdictions: Annotated[
        list[Annotated[str, Field(pattern="^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]],
        Field(min_length=1, max_length=50),
    ]
    validity_days: Annotated[int, Field(ge=1, le=3650)]
    withdrawal: _Sentence
    erases: bool = False

    def content(self) -> NoticeContent:
        """What it says in words."""
        return NoticeContent(
            title=self.title,
            text=self.text,
            language=self.language,
            purpose_description=self.purpose_description,
            data_categories=tuple(self.data_categories),
            controller=Party(self.controller.name, self.controller.contact),
            recipients=tuple(self.recipients),
            retention=self.retention,
            jurisdictions=tuple(self.jurisdictions),
            withdrawal=self.withdrawal,
        )

    def terms(self) -> NoticeTerms:
        """What the service holds to."""
        return NoticeTerms(self.validity_days, self.retention_days, self.erases)


class CreateNotice(NoticeVersion):
    """A new notice."""

    purpose: Annotated[
        str,
        Field(
            pattern="^[a-z][a-z0-9_.:-]{0,63}$",
            description="A code, which grants under it are for; it never changes.",
        ),
    ]


@router.post(
    "/v1/consent-notices",
    summary="Publish a notice",
    status_code=201,
    response_model=NoticeObject,
    responses={**answers(201, "The notice.", "Location"), **errors(410)},
)
async def create_consent_notice(
    body: CreateNotice, caller: KnownSharingWriter, services: ServicesDependency
) -> Response:
    """Everybody in the tenant may read it; who made it alone may add versions and ask for consent with it."""
    notice = await services.sharing.notices.create(
        caller, body.purpose, body.content(), body.terms()
    )
    location = f"/v1/consent-notices/{render_id(NOTICE_PREFIX, notice.id)}"
    return JSONResponse(render_notice(notice), 201, {"Location": location})


@router.get(
    "/v1/consent-notices",
    summary="List notices",
    response_model=Page[NoticeObject],
    responses=errors(404, 410),
)
async def list_consent_notices(
    caller: KnownSharingReader, services: ServicesDependency, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """The latest versions of the tenant's notices, the oldest notice first."""
    place = None if after is None else require_notice_id(after, "after")
    notices = await services.sharing.notices.list_notices(caller, place, limit + 1)
    return page_of([render_notice(notice) for notice in notices], limit)


@router.get(
    "/v1/consent-notices/{notice_id}",
    summary="Get a notice",
    response_model=NoticeObject,
    responses=errors(404, 410),
)
async def get_consent_notice(
    notice_id: str,
    caller: KnownSharingReader,
    services: ServicesDependency,
    version: Annotated[int | None, Query(ge=1, le=2_147_483_647)] = None,
) -> dict[str, Any]:
    """Its latest version, or another."""
    return render_notice(
        await services.sharing.notices.get(caller, require_notice_id(notice_id), version)
    )


@router.put(
    "/v1/consent-notices/{notice_id}",
    summary="Add a version to a notice",
    response_model=NoticeObject,
    responses=errors(404, 410),
)
async def add_consent_notice_version(
    notice_id: str, body: NoticeVersion, caller: KnownSharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Consents stay with the version that was agreed to, until they are renewed."""
    notice = await services.sharing.notices.add_version(
        caller, require_notice_id(notice_id), body.content(), body.terms()
    )
    return render_notice(notice)
