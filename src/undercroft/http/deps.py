"""What routes depend on: the wired services, and the one access check."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from undercroft.chat.answering import Answerer
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.responses.service import ResponseService
from undercroft.http.health import Readiness
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.models import Permission, Principal
from undercroft.identity.service import IdentityService
from undercroft.jobs.service import JobService
from undercroft.kit.clock import Clock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.kit.telemetry import Telemetry
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.search.service import SearchService
from undercroft.vault.service import DocumentService


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may call, wired once by ``http/app.py``."""

    settings: Settings
    telemetry: Telemetry
    readiness: Readiness
    ids: IdSource
    clock: Clock
    identity: IdentityService
    documents: DocumentService
    collections: CollectionService
    search: SearchService
    embedder: Embedder
    models: ModelRegistry
    answers: Answerer
    responses: ResponseService
    jobs: JobService


_BEARER: Final = HTTPBearer(auto_error=False, description="An Undercroft API key.")


async def get_services(request: Request) -> Services:
    """The services of the running application. Async, because FastAPI sends plain functions to a thread."""
    return cast("Services", request.app.state.services)


ServicesDependency = Annotated[Services, Depends(get_services)]


def authorised(permission: Permission) -> Callable[..., Awaitable[Principal]]:
    """The access check of a route. A test holds every route to exactly one."""

    async def check(
        services: ServicesDependency,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Principal:
        if credentials is None:
            raise UnauthenticatedError(
                "No API key was given. Send it as 'Authorization: Bearer KEY'."
            )
        principal = await services.identity.authenticate(credentials.credentials)
        services.identity.require(principal, permission)
        return principal

    return check


Caller = Annotated[Principal, Depends(authorised(Permission.USE))]
Administrator = Annotated[Principal, Depends(authorised(Permission.ADMINISTER))]
