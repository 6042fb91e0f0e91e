"""Whom things are about: what is personal is shared only while they consent."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from undercroft.http.callers import SharingReader, SharingWriter
from undercroft.http.consent_views import DataSubjectObject
from undercroft.http.deps import NativeRoute, ServicesDependency
from undercroft.http.openai.contract import errors
from undercroft.http.sharing_views import require_resource
from undercroft.http.wire import RequestBody
from undercroft.ledger.leaves import user_reference

router = APIRouter(tags=["consent"], route_class=NativeRoute)


class NameDataSubject(RequestBody):
    """Whom a thing is about."""

    subject: Annotated[
        str | None,
        Field(max_length=320, description="A user's e-mail address; null for the owner."),
    ] = None


@router.get(
    "/v1/data-subjects/{resource}",
    summary="Get whom a thing is about",
    response_model=DataSubjectObject,
    responses=errors(404),
)
async def get_data_subject(
    resource: str, caller: SharingReader, services: ServicesDependency
) -> dict[str, Any]:
    """For its owner."""
    subject_id = await services.sharing.data_subjects.get(caller, require_resource(resource))
    return _render(resource, subject_id)


@router.put(
    "/v1/data-subjects/{resource}",
    summary="Mark a thing as personal",
    response_model=DataSubjectObject,
    responses=errors(404, 409),
)
async def set_data_subject(
    resource: str, body: NameDataSubject, caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """Grants of it that its data subject has not agreed to end at once. For its owner."""
    found = require_resource(resource)
    return _render(resource, await services.sharing.data_subjects.mark(caller, found, body.subject))


@router.delete(
    "/v1/data-subjects/{resource}",
    summary="Mark a thing as not personal",
    response_model=DataSubjectObject,
    responses=errors(404, 409),
)
async def delete_data_subject(
    resource: str, caller: SharingWriter, services: ServicesDependency
) -> dict[str, Any]:
    """A record is about its owner then, as far as its schema calls its fields personal. For its owner."""
    subject_id = await services.sharing.data_subjects.unmark(caller, require_resource(resource))
    return _render(resource, subject_id)


def _render(resource: str, subject_id: UUID | None) -> dict[str, Any]:
    return {
        "object": "data_subject",
        "resource": resource,
        "subject": None if subject_id is None else user_reference(subject_id),
    }
