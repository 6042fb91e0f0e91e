"""Every route asks who is there, once; only what the machinery around the service reads does not."""

import asyncio
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts

from tests.http.asgi import Connection, scope
from undercroft.http.app import create_application
from undercroft.http.callers import Administrator, DocumentReader
from undercroft.http.deps import authorised
from undercroft.identity.models import Permission, Principal
from undercroft.kit.settings import Settings

OPEN: Final = {
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /openapi.json",
    "HEAD /openapi.json",
    "GET /ledger/{log}/checkpoint",
    # For whoever has no key yet, or has forgotten what gives them one.
    "POST /v1/sessions",
    "POST /v1/sessions/refresh",
    "POST /v1/sessions/second-factor",
    "POST /v1/account/sign-up",
    "POST /v1/account/password/request",
    "POST /v1/account/password/code",
    "POST /v1/account/verification/code",
    "POST /v1/share-links/redeem",
    # Whoever holds a proof needs nothing else.
    "POST /v1/verify",
    "GET /verify",
    "POST /verify",
    "GET /verify/{token}",
}
CREDENTIAL_ALONE: Final = {
    "POST /mcp",
}
"""Ask for a credential and for no permission: each of the tools there asks for its own (tests/e2e/access_matrix.py)."""
SOCKETS: Final = {"/v1/responses": "POST /v1/responses"}
"""Where a socket is opened, and the route whose check it makes itself (tests/e2e/test_access_matrix.py)."""
_CHECK: Final = authorised(Permission.ADMINISTER).__code__
"""Every access check is made of this code, whatever the permission."""


def count_checks(dependant: Dependant) -> int:
    """How often a route asks who is there, itself or through what it depends on."""
    call = getattr(dependant.call, "__code__", None)
    return (call is _CHECK) + sum(map(count_checks, dependant.dependencies))


ROUTES: Final = {
    Permission.DOCUMENTS_READ: {
        "GET /v1/documents",
        "GET /v1/documents/{document_id}",
        "GET /v1/documents/{document_id}/comments",
        "GET /v1/documents/{document_id}/content",
        "HEAD /v1/documents/{document_id}/content",
        "GET /v1/documents/{document_id}/text",
        "GET /v1/documents/{document_id}/versions",
        "GET /v1/documents/{document_id}/versions/{number}",
        "GET /v1/documents/{document_id}/versions/{number}/content",
        "HEAD /v1/documents/{document_id}/versions/{number}/content",
        "GET /v1/documents/{document_id}/versions/{number}/receipt",
        "GET /v1/files",
        "GET /v1/files/{file_id}",
        "GET /v1/files/{file_id}/content",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "GET /v1/usage",
        "GET /v1/usage/daily",
        "GET /v1/vector_stores/{vector_store_id}/files/{file_id}/content",
    },
    Permission.DOCUMENTS_WRITE: {
        "POST /v1/documents",
        "PATCH /v1/documents/{document_id}",
        "DELETE /v1/documents/{document_id}",
        "POST /v1/documents/{document_id}/comments",
        "DELETE /v1/documents/{document_id}/comments/{comment_id}",
        "POST /v1/documents/{document_id}/erase",
        "POST /v1/documents/{document_id}/restore",
        "POST /v1/documents/{document_id}/versions",
        "POST /v1/documents/{document_id}/versions/{number}/restore",
        "POST /v1/files",
        "DELETE /v1/files/{file_id}",
        "POST /v1/uploads",
        "POST /v1/uploads/{upload_id}/cancel",
        "POST /v1/uploads/{upload_id}/complete",
        "POST /v1/uploads/{upload_id}/parts",
    },
    Permission.COLLECTIONS_READ: {
        "GET /v1/vector_stores",
        "GET /v1/vector_stores/{vector_store_id}",
        "GET /v1/vector_stores/{vector_store_id}/file_batches/{batch_id}",
        "GET /v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files",
        "GET /v1/vector_stores/{vector_store_id}/files",
        "GET /v1/vector_stores/{vector_store_id}/files/{file_id}",
    },
    Permission.COLLECTIONS_WRITE: {
        "POST /v1/vector_stores",
        "POST /v1/vector_stores/{vector_store_id}",
        "DELETE /v1/vector_stores/{vector_store_id}",
        "POST /v1/vector_stores/{vector_store_id}/file_batches",
        "POST /v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel",
        "POST /v1/vector_stores/{vector_store_id}/files",
        "POST /v1/vector_stores/{vector_store_id}/files/{file_id}",
        "DELETE /v1/vector_stores/{vector_store_id}/files/{file_id}",
    },
    Permission.RECORDS_READ: {
        "GET /v1/records",
        "GET /v1/records/{record_id}",
        "GET /v1/records/{record_id}/versions",
        "POST /v1/records/search",
        "POST /v1/records/{record_id}/receipt",
        "GET /v1/schemas",
        "GET /v1/schemas/{schema_id}",
        "GET /v1/schemas/{schema_id}/migrations/{migration_id}",
        "GET /v1/schemas/{schema_id}/versions",
        "POST /v1/schemas/{schema_id}/search",
    },
    Permission.RECORDS_WRITE: {
        "POST /v1/records",
        "PUT /v1/records/{record_id}",
        "PATCH /v1/records/{record_id}",
        "DELETE /v1/records/{record_id}",
        "POST /v1/records/{record_id}/lock",
        "DELETE /v1/records/{record_id}/lock",
    },
    Permission.SCHEMAS_WRITE: {
        "POST /v1/schemas",
        "PUT /v1/schemas/{schema_id}",
        "DELETE /v1/schemas/{schema_id}",
        "POST /v1/schemas/{schema_id}/migrations",
    },
    Permission.ACT_FOR_USERS: {
        "POST /v1/oauth/token",
    },
    Permission.TOKENS_READ: {
        "POST /v1/oauth/introspect",
    },
    Permission.TOKENS_REVOKE: {
        "POST /v1/oauth/revoke",
    },
    Permission.SEARCH: {
        "POST /v1/search",
        "POST /v1/vector_stores/{vector_store_id}/search",
    },
    Permission.RESPONSES_READ: {
        "POST /v1/conversations/search",
        "GET /v1/conversations/{conversation_id}",
        "GET /v1/conversations/{conversation_id}/items",
        "GET /v1/conversations/{conversation_id}/items/{item_id}",
        "GET /v1/responses/{response_id}",
        "GET /v1/responses/{response_id}/input_items",
        "GET /v1/responses/{response_id}/provenance",
        "GET /v1/ui/chat/{chat_id}/messages",
        "GET /v1/ui/chat/{chat_id}/stream",
    },
    Permission.RESPONSES_WRITE: {
        "POST /v1/chat/completions",
        "POST /v1/conversations",
        "POST /v1/conversations/{conversation_id}",
        "DELETE /v1/conversations/{conversation_id}",
        "POST /v1/conversations/{conversation_id}/items",
        "DELETE /v1/conversations/{conversation_id}/items/{item_id}",
        "POST /v1/responses",
        "POST /v1/responses/compact",
        "POST /v1/responses/{response_id}/cancel",
        "DELETE /v1/responses/{response_id}",
        "POST /v1/ui/chat",
        "POST /v1/ui/chat/{chat_id}/stop",
    },
    Permission.MODELS: {
        "POST /v1/embeddings",
        "GET /v1/models",
        "GET /v1/models/{model:path}",
    },
    Permission.SHARING_READ: {
        "GET /v1/access-requests",
        "GET /v1/access-requests/{request_id}",
        "GET /v1/consent-notices",
        "GET /v1/consent-notices/{notice_id}",
        "GET /v1/consents",
        "GET /v1/consents/{consent_id}",
        "GET /v1/consents/{consent_id}/receipt",
        "GET /v1/consents/{consent_id}/uses",
        "GET /v1/data-subjects/{resource}",
        "GET /v1/grants",
        "GET /v1/grants/{grant_id}",
        "GET /v1/share-links",
        "GET /v1/verification-links",
        "POST /v1/access/check",
        "GET /v1/access/principals",
        "GET /v1/access/resources",
    },
    Permission.SHARING_WRITE: {
        "POST /v1/access-requests",
        "POST /v1/access-requests/{request_id}/approve",
        "POST /v1/access-requests/{request_id}/deny",
        "POST /v1/consent-notices",
        "PUT /v1/consent-notices/{notice_id}",
        "POST /v1/consents",
        "POST /v1/consents/withdraw-all",
        "POST /v1/consents/{consent_id}/give",
        "POST /v1/consents/{consent_id}/refuse",
        "POST /v1/consents/{consent_id}/renew",
        "POST /v1/consents/{consent_id}/withdraw",
        "PUT /v1/data-subjects/{resource}",
        "DELETE /v1/data-subjects/{resource}",
        "POST /v1/grants",
        "DELETE /v1/grants/{grant_id}",
        "POST /v1/share-links",
        "POST /v1/verification-links",
        "DELETE /v1/verification-links/{link_id}",
    },
    Permission.KEYS: {
        "GET /v1/account/second-factor",
        "POST /v1/account/second-factor",
        "POST /v1/account/second-factor/confirmation",
        "POST /v1/account/second-factor/recovery-codes",
        "POST /v1/account/second-factor/removal",
        "GET /v1/sessions",
        "GET /v1/sessions/{session_id}",
        "DELETE /v1/sessions",
        "DELETE /v1/sessions/{session_id}",
        "PUT /v1/account/password",
        "POST /v1/account/verification",
        "GET /v1/users/{user_id}/keys",
        "POST /v1/users/{user_id}/keys",
        "GET /v1/users/{user_id}/keys/{key_id}",
        "DELETE /v1/users/{user_id}/keys/{key_id}",
    },
    Permission.MEMBERS_READ: {
        "GET /v1/account",
        "GET /v1/groups",
        "GET /v1/groups/{group_id}",
        "GET /v1/groups/{group_id}/members",
        "GET /v1/groups/{group_id}/members/{user_id}",
        "GET /v1/users",
        "GET /v1/users/{user_id}",
    },
    Permission.MEMBERS_WRITE: {
        "POST /v1/users/{user_id}/invitation",
        "GET /v1/outside-tools",
        "PUT /v1/outside-tools",
        "GET /v1/sign-up",
        "PUT /v1/sign-up",
        "DELETE /v1/users/{user_id}/second-factor",
        "GET /v1/second-factor-policy",
        "PUT /v1/second-factor-policy",
        "POST /v1/groups",
        "PATCH /v1/groups/{group_id}",
        "DELETE /v1/groups/{group_id}",
        "POST /v1/groups/{group_id}/members",
        "DELETE /v1/groups/{group_id}/members/{user_id}",
        "POST /v1/services",
        "POST /v1/users",
        "PATCH /v1/users/{user_id}",
        "DELETE /v1/users/{user_id}",
        "POST /v1/users/{user_id}/reinstate",
        "POST /v1/users/{user_id}/suspend",
    },
    Permission.AUDIT_READ: {
        "GET /v1/audit",
        "GET /v1/audit/export",
        "GET /v1/audit/{entry_id}",
        "GET /v1/audit/{entry_id}/proof",
        "GET /v1/documents/{document_id}/uses",
    },
    Permission.LEDGER_READ: {
        "GET /ledger/{log}/tile/entries/{path:path}",
        "GET /ledger/{log}/tile/{level}/{path:path}",
        "GET /v1/ledger",
        "GET /v1/ledger/consistency",
        "GET /v1/ledger/inclusion",
    },
    Permission.ADMINISTER: {
        "PUT /v1/documents/{document_id}/legal-hold",
        "DELETE /v1/documents/{document_id}/legal-hold",
        "POST /v1/webhooks",
        "GET /v1/webhooks",
        "GET /v1/webhooks/{webhook_id}",
        "PATCH /v1/webhooks/{webhook_id}",
        "DELETE /v1/webhooks/{webhook_id}",
        "POST /v1/webhooks/{webhook_id}/secret",
        "GET /v1/webhooks/{webhook_id}/deliveries",
        "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
        "POST /v1/issuers",
        "GET /v1/issuers",
        "DELETE /v1/issuers/{issuer_id}",
        "GET /v1/quotas",
        "PUT /v1/quotas/{subject}/{period}",
        "DELETE /v1/quotas/{subject}/{period}",
    },
}
"""What each route asks for. A new route has to be added here."""


def find_permissions(dependant: Dependant) -> Iterator[Permission]:
    """What the access checks of a route ask for."""
    call = dependant.call
    if getattr(call, "__code__", None) is _CHECK:
        held = inspect.getclosurevars(cast("FunctionType", call)).nonlocals.values()
        yield from (value for value in held if isinstance(value, Permission))
    for needed in dependant.dependencies:
        yield from find_permissions(needed)


def checks_by_route(application: FastAPI) -> dict[str, int]:
    """The number of access checks of each method and path."""
    return dict(_checks(application))


def _checks(application: FastAPI) -> Iterator[tuple[str, int]]:
    for context in iter_route_contexts(application.routes):
        route = context.original_route
        if isinstance(route, APIWebSocketRoute):
            continue
        checks = count_checks(route.dependant) if isinstance(route, APIRoute) else 0
        for method in context.methods or {"*"}:
            yield f"{method} {context.path}", checks


async def _running() -> str | None:
    return None


def test_every_route_has_exactly_one_access_check() -> None:
    application = create_application(Settings(), "postgresql://nobody@127.0.0.1/none", _running)
    checks = checks_by_route(application)
    assert len(checks) > 25
    for route, count in checks.items():
        assert count == (0 if route in OPEN | CREDENTIAL_ALONE else 1), route


def test_every_socket_is_listed() -> None:
    application = create_application(Settings(), "postgresql://nobody@127.0.0.1/none", _running)
    routes = iter_route_contexts(application.routes)
    sockets = {each.path for each in routes if isinstance(each.original_route, APIWebSocketRoute)}
    assert sockets == set(SOCKETS)


def test_each_route_asks_for_the_permission_that_is_listed() -> None:
    application = create_application(Settings(), "postgresql://nobody@127.0.0.1/none", _running)
    asked: dict[Permission, set[str]] = {}
    for context in iter_route_contexts(application.routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            for permission in find_permissions(route.dependant):
                routes = {f"{method} {context.path}" for method in context.methods or ()}
                asked[permission] = asked.get(permission, set()) | routes
    assert asked == ROUTES


async def test_no_route_reads_a_body_before_it_knows_who_sends_it() -> None:
    application = create_application(Settings(), "postgresql://nobody@127.0.0.1/none", _running)
    asked = 0
    for route in checks_by_route(application):
        method, path = route.split(" ")
        if route in OPEN:
            continue
        connection = Connection()
        # Its body never comes: a route that waits for it does not answer.
        request = scope(
            re.sub(r"{\w+}", "x", path), method, headers=[(b"host", b"localhost")], raw_path=b""
        )
        async with asyncio.timeout(60):
            await application(request, connection.receive, connection.send)
        assert connection.status == 401, route
        asked += method == "POST"
    assert asked > 8


def test_a_route_without_a_check_or_with_two_is_found() -> None:
    router = APIRouter()

    @router.get("/forgotten")
    async def forgotten() -> None: ...

    @router.get("/right")
    async def right(caller: DocumentReader) -> None: ...

    @router.get("/indirect")
    async def indirect(name: Annotated[str, Depends(named)]) -> None: ...

    @router.get("/twice")
    async def twice(
        caller: DocumentReader,
        administrator: Administrator,
    ) -> None: ...

    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    application.include_router(router)
    assert checks_by_route(application) == {
        "GET /forgotten": 0,
        "GET /right": 1,
        "GET /indirect": 1,
        "GET /twice": 2,
    }


async def named(caller: DocumentReader) -> str:
    """A dependency that asks who is there."""
    return _name(caller)


def _name(principal: Principal) -> str:
    return str(principal.user_id)
