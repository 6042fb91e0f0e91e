"""The application: its routes, and what stands before them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute, Route

from undercroft import __version__
from undercroft.http.errors import install_error_handlers
from undercroft.http.health import ReadinessCheck
from undercroft.http.mcp import routes as mcp
from undercroft.http.middleware import (
    Admission,
    BodyPace,
    NoStore,
    Places,
    PlainErrors,
    RequestLog,
)
from undercroft.http.oauth_forms import LARGEST_FORM
from undercroft.http.openai import (
    chat_completions,
    compaction,
    conversation_search,
    conversations,
    embeddings,
    files,
    models,
    response_socket,
    responses,
    uploads,
    vector_store_file_batches,
    vector_store_files,
    vector_stores,
)
from undercroft.http.openai.open_sockets import OpenSockets
from undercroft.http.openapi_document import DocumentedApplication, serve_document
from undercroft.http.routes import (
    access,
    access_requests,
    accounts,
    api_keys,
    audit,
    consent_notices,
    consents,
    data_subjects,
    document_comments,
    document_content,
    document_texts,
    document_uploads,
    documents,
    grants,
    groups,
    issuers,
    jobs,
    ledger,
    legal_holds,
    oauth,
    operations,
    provenance,
    quotas,
    record_locks,
    record_migrations,
    record_receipts,
    record_search,
    records,
    schemas,
    search,
    second_factors,
    sessions,
    share_links,
    usage,
    users,
    verification,
    verification_links,
    webhooks,
)
from undercroft.http.ui import chat
from undercroft.http.upload_form import FORM_OVERHEAD
from undercroft.http.wiring.services import open_services
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.kit.telemetry import Telemetry
from undercroft.vault.uploads.models import LARGEST_PART
from undercroft.verification.submitted import LARGEST_PROOF

# The framework tries one path after the other, a microsecond or two each: what is asked for most comes first.
ROUTERS: Final[Sequence[APIRouter]] = (
    search.router,
    records.router,
    documents.router,
    document_content.router,
    vector_stores.router,
    operations.router,
    issuers.router,
    jobs.router,
    ledger.router,
    ledger.public_router,
    audit.router,
    grants.router,
    access.router,
    share_links.router,
    schemas.router,
    record_locks.router,
    record_migrations.router,
    record_receipts.router,
    record_search.router,
    document_texts.router,
    document_comments.router,
    legal_holds.router,
    access_requests.router,
    consent_notices.router,
    consents.router,
    data_subjects.router,
    vector_store_files.router,
    vector_store_file_batches.router,
    models.router,
    uploads.router,
    quotas.router,
    usage.router,
    provenance.router,
    verification_links.router,
    webhooks.router,
    users.router,
    groups.router,
    api_keys.router,
    sessions.router,
    accounts.router,
    second_factors.router,
    mcp.router,
)
PUBLIC_ROUTERS: Final[Sequence[APIRouter]] = (
    sessions.public_router,
    accounts.public_router,
    share_links.public_router,
)
LONG_TEXT_ROUTERS: Final[Sequence[APIRouter]] = (
    responses.router,
    chat_completions.router,
    compaction.router,
    response_socket.router,
    # Before the conversations, of which a search is none.
    conversation_search.router,
    conversations.router,
    chat.router,
    embeddings.router,
)
UPLOAD_ROUTERS: Final[Sequence[APIRouter]] = (files.router, document_uploads.router)
PROOF_ROUTERS: Final[Sequence[APIRouter]] = (
    verification.public_router,
    verification_links.public_router,
)

_DESCRIPTION: Final = (
    "Paths below `/v1/` need `Authorization: Bearer KEY`, but for those by which somebody signs in, opens a share "
    "link or verifies a proof. Every answer has `X-Request-Id`. Errors below `/v1/` are OpenAI's error object (below "
    "`/v1/oauth/` RFC 6749's), elsewhere RFC 9457's; the documentation lists their codes. Files, vector stores, "
    "uploads, responses, conversations, chat completions, embeddings and models are objects as OpenAI has them."
)

_SHORT_BODY: Final = 256 * 1024
"""The largest JSON body where no long text belongs in one: a body costs many times its size once it is parsed."""

_STRANGERS_BODY: Final = 8 * 1024
"""The largest body that is read of whoever has shown no key."""


def create_application(
    settings: Settings, database_url: str, worker_check: ReadinessCheck
) -> FastAPI:
    """The ASGI application over one database.

    Args:
        settings: The service's settings.
        database_url: The service's login.
        worker_check: Answers None while a worker runs, or what is wrong.
    """
    clock, telemetry = SystemClock(), Telemetry()
    ids = IdSource(clock)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncGenerator[None]:
        async with open_services(
            settings, database_url, worker_check, clock, ids, telemetry
        ) as services:
            application.state.services = services
            yield

    application = DocumentedApplication(
        title="Undercroft",
        version=__version__,
        summary="Ask your own documents: streamed, cited, provable.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,
        # The interactive pages load scripts from elsewhere into an origin that holds private data.
        docs_url=None,
        redoc_url=None,
        # A redirect names the host and the scheme that were seen here: behind a proxy, perhaps one without TLS.
        redirect_slashes=False,
    )
    _add_routers(application, settings)
    install_error_handlers(application)
    application.add_middleware(BodyPace, clock=clock)
    _add_middleware(application, settings)
    # Added last, so that it sees every request first.
    application.add_middleware(RequestLog, telemetry=telemetry, clock=clock, ids=ids)
    serve_document(application)
    return application


def _add_routers(application: FastAPI, settings: Settings) -> None:
    """Every route, with the largest body it reads."""
    # Routes are tried in this order: those first that are asked for most.
    for routers, largest in (
        (LONG_TEXT_ROUTERS, settings.max_body_bytes),
        (ROUTERS, min(_SHORT_BODY, settings.max_body_bytes)),
        (PUBLIC_ROUTERS, min(_STRANGERS_BODY, settings.max_body_bytes)),
        (UPLOAD_ROUTERS, settings.max_upload_bytes + FORM_OVERHEAD),
        (PROOF_ROUTERS, min(LARGEST_PROOF, settings.max_body_bytes)),
        ((oauth.router,), LARGEST_FORM),
        (
            (uploads.parts_router,),
            min(LARGEST_PART, settings.max_upload_bytes) + FORM_OVERHEAD,
        ),
    ):
        for router in routers:
            application.router.routes += [_bounded(route, largest) for route in router.routes]


def _bounded(route: BaseRoute, largest: int) -> BaseRoute:
    """A router's route as it is, but for the largest body that it reads here.

    Were the router included, the framework would build each of its routes again at every start, and match it twice for
    every request.
    """
    bounded = copy(route)
    if isinstance(bounded, Route):
        # On each route rather than on the application, whose limit would answer past the middleware below.
        bounded.app = RequestBodyLimitMiddleware(bounded.app, max_body_size=largest)
    return bounded


def _add_middleware(application: FastAPI, settings: Settings) -> None:
    """What refuses requests. The last one added sees a request first."""
    application.state.places = Places(settings.max_open_requests)
    sockets = max(1, settings.max_open_requests // 2)
    application.state.open_sockets = OpenSockets(sockets)
    application.add_middleware(
        Admission, places=application.state.places, sockets=Places(sockets, "sockets")
    )
    if settings.cors_origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            # Any: SDKs add headers of their own, and what an origin may not do is not decided by their names.
            allow_headers=["*"],
            expose_headers=[
                "X-Request-Id",
                "Retry-After",
                "ETag",
                "Location",
                "Content-Range",
                "Content-Disposition",
                "Idempotency-Replayed",
            ],
        )
    application.add_middleware(
        TrustedHostMiddleware, allowed_hosts=list(settings.allowed_hosts), www_redirect=False
    )
    application.add_middleware(PlainErrors)
    application.add_middleware(NoStore)
