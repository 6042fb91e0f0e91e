"""Every route asks who is there, once; only what the machinery around the service reads does not."""

import asyncio
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from tests.http.asgi import Connection, scope
from undercroft.http.app import create_application
from undercroft.http.deps import Caller, authorised
from undercroft.identity.models import Permission, Principal
from undercroft.kit.settings import Settings

OPEN: Final = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/ledger/{log}/checkpoint",
}
_CHECK: Final = authorised(Permission.USE).__code__
"""Every access check is made of this code, whatever the permission."""


def count_checks(dependant: Dependant) -> int:
    """How often a route asks who is there, itself or through what it depends on."""
    call = getattr(dependant.call, "__code__", None)
    return (call is _CHECK) + sum(map(count_checks, dependant.dependencies))


MORE_THAN_USE: Final = {
    "PUT /v1/documents/{document_id}/legal-hold": Permission.ADMINISTER,
    "DELETE /v1/documents/{document_id}/legal-hold": Permission.ADMINISTER,
    "GET /ledger/{log}/tile/entries/{path:path}": Permission.READ_LEDGER,
    "GET /ledger/{log}/tile/{level}/{path:path}": Permission.READ_LEDGER,
    "GET /v1/ledger": Permission.READ_LEDGER,
    "GET /v1/ledger/inclusion": Permission.READ_LEDGER,
    "GET /v1/ledger/consistency": Permission.READ_LEDGER,
}
"""The routes that ask for another permission than to use what one owns."""


def find_permissions(dependant: Dependant) -> Iterator[Permission]:
    """What the access checks of a route ask for."""
    call = dependant.call
    if getattr(call, "__code__", None) is _CHECK:
        yield from inspect.getclosurevars(cast("FunctionType", call)).nonlocals.values()
    for needed in dependant.dependencies:
        yield from find_permissions(needed)


def checks_by_route(application: FastAPI) -> dict[str, int]:
    """The number of access checks of each method and path."""
    return dict(_checks(application))


def _checks(application: FastAPI) -> Iterator[tuple[str, int]]:
    for context in iter_route_contexts(application.routes):
        route = context.original_route
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
        assert count == (0 if route.split(" ")[1] in OPEN else 1), route


def test_each_route_asks_for_the_permission_that_is_listed() -> None:
    application = create_application(Settings(), "postgresql://nobody@127.0.0.1/none", _running)
    asked: dict[str, Permission] = {}
    for context in iter_route_contexts(application.routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            for permission in find_permissions(route.dependant):
                asked |= {
                    f"{method} {context.path}": permission for method in context.methods or ()
                }
    assert len(asked) > 60
    more = {route: asks for route, asks in asked.items() if asks is not Permission.USE}
    assert more == MORE_THAN_USE


async def test_no_route_reads_a_body_before_it_knows_who_sends_it() -> None:
    application = create_application(Settings(), "postgresql://nobody@127.0.0.1/none", _running)
    asked = 0
    for route in checks_by_route(application):
        method, path = route.split(" ")
        if path in OPEN:
            continue
        connection = Connection()
        # Its body never comes: a route that waits for it does not answer.
        request = scope(
            re.sub(r"{\w+}", "x", path), method, headers=[(b"host", b"localhost")], raw_path=b""
        )
        async with asyncio.timeout(5):
            await application(request, connection.receive, connection.send)
        assert connection.status == 401, route
        asked += method == "POST"
    assert asked > 8


def test_a_route_without_a_check_or_with_two_is_found() -> None:
    router = APIRouter()

    @router.get("/forgotten")
    async def forgotten() -> None: ...

    @router.get("/right")
    async def right(caller: Caller) -> None: ...

    @router.get("/indirect")
    async def indirect(name: Annotated[str, Depends(named)]) -> None: ...

    @router.get("/twice")
    async def twice(
        caller: Caller,
        administrator: Annotated[Principal, Depends(authorised(Permission.ADMINISTER))],
    ) -> None: ...

    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    application.include_router(router)
    assert checks_by_route(application) == {
        "GET /forgotten": 0,
        "GET /right": 1,
        "GET /indirect": 1,
        "GET /twice": 2,
    }


async def named(caller: Caller) -> str:
    """A dependency that asks who is there."""
    return _name(caller)


def _name(principal: Principal) -> str:
    return str(principal.user_id)
