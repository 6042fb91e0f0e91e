"""What routes depend on: the wired services, and the one access check."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from undercroft.http.idempotency import OneEffect, keeps_answers, refuse_key, sent_key, with_key
from undercroft.http.json_bodies import StrictRequest
from undercroft.http.rate_limits import with_limits
from undercroft.http.services import Services
from undercroft.identity.errors import MissingKeyError
from undercroft.identity.models import Kind, Permission, Principal
from undercroft.kit.database import PURPOSE
from undercroft.kit.errors import InvalidRequestError, UndercroftError
from undercroft.sharing.errors import LinkHolderError

PURPOSE_HEADER: Final = "Undercroft-Purpose"

_QUOTED: Final = 100
_BEARER: Final = HTTPBearer(
    auto_error=False, description="An Undercroft API key, or an access token."
)


async def get_services(request: Request) -> Services:
    """The services of the running application. Async, because FastAPI sends plain functions to a thread."""
    return cast("Services", request.app.state.services)


ServicesDependency = Annotated[Services, Depends(get_services)]


def operation_id(route: APIRoute) -> str:
    """What the OpenAPI document calls an operation, and a generated client its method."""
    return route.name


class AuthenticatedRoute(APIRoute):
    """A route that knows who asks before it reads what they send.

    The framework reads all of a body, a large one onto the disk, before it resolves a dependency: a stranger's must
    not get that far.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - the framework's
        options["generate_unique_id_function"] = operation_id
        super().__init__(path, endpoint, **with_key(path, options))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, behind the look-up of the key."""
        handle = super().get_route_handler()

        async def authenticate(request: Request) -> Response:
            credentials = await _BEARER(request)
            if credentials is None:
                raise MissingKeyError
            services = await get_services(request)
            principal = await services.people.identity.authenticate(credentials.credentials)
            request.state.principal = replace(principal, purpose=read_purpose(request))
            self.check_query(request)
            key = sent_key(request)
            if key is None or not keeps_answers(self):
                return with_limits(request, await _read_and_handle(handle, request))
            once = OneEffect(
                services.idempotency,
                services.sharing.access.explain,
                request.state.principal,
                self,
                key,
            )
            request.state.one_effect = once
            return await once.answer(lambda: _read_and_handle(handle, request), request)

        return authenticate

    def check_query(self, request: Request) -> None:
        """Decide whether the query parameters are taken. OpenAI ignores those that it does not know."""


class NativeRoute(AuthenticatedRoute):
    """A route that is no face of OpenAI's: it refuses query parameters that it does not know.

    A filter that is misspelt and ignored answers everything.
    """

    def check_query(self, request: Request) -> None:
        """Refuse parameters that the route does not name.

        Raises:
            InvalidRequestError: When there is one.
        """
        _refuse_unknown_parameters(self, request)


class PublicRoute(APIRoute):
    """A native route for whoever has no key yet; its router bounds what is read of a body."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - the framework's
        options["generate_unique_id_function"] = operation_id
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, with bodies and query parameters read as strictly as elsewhere."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            _refuse_unknown_parameters(self, request)
            refuse_key(request)
            return with_limits(request, await _read_and_handle(handle, request))

        return answer


def _refuse_unknown_parameters(route: APIRoute, request: Request) -> None:
    known = {field.alias for field in route.dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        name = unknown[0][:_QUOTED].encode("ascii", "backslashreplace").decode()
        takes = f"those are: {', '.join(sorted(known))}" if known else "it takes none"
        raise InvalidRequestError(
            f"'{name}' is not a query parameter of this path; {takes}.", param=name
        )


async def _read_and_handle(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request
) -> Response:
    try:
        return await handle(_strict(request))
    except HTTPException as error:
        # The framework calls whatever ends the reading of a body a malformed one.
        if isinstance(error.__cause__, UndercroftError | OSError | RequestValidationError):
            raise error.__cause__ from None
        raise


def read_purpose(request: HTTPConnection) -> str | None:
    """What the caller says that it is for, which some grants ask for.

    Raises:
        InvalidRequestError: When it is no code, or is said twice.
    """
    stated = request.headers.getlist(PURPOSE_HEADER)
    if not stated:
        return None
    if len(stated) > 1 or PURPOSE.fullmatch(stated[0]) is None:
        raise InvalidRequestError(
            "State one purpose, a code such as medical.treatment: small letters, digits and _ . : -, at most 64.",
            param=PURPOSE_HEADER,
        )
    return stated[0]


def _strict(request: Request) -> StrictRequest:
    if isinstance(request, StrictRequest):
        return request
    return StrictRequest(request.scope, request.receive)


def authorised(
    permission: Permission, *, for_links: bool = True, while_enrolling: bool = False
) -> Callable[..., Awaitable[Principal]]:
    """The access check of a route, an :class:`AuthenticatedRoute`. A test holds every route to exactly one.

    Args:
        permission: What the caller has to have.
        for_links: Whether that is enough for whoever holds a share link: false where it lets them beyond what the link
            is to.
        while_enrolling: Whether it is for whoever has to enrol a second factor before anything else, too.
    """

    async def check(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Principal:
        # Looked up here: to the framework each dependency of a dependency is work for every request.
        services = await get_services(request)
        principal = cast("Principal", request.state.principal)
        await require_permission(
            services, principal, permission, for_links=for_links, while_enrolling=while_enrolling
        )
        once: OneEffect | None = getattr(request.state, "one_effect", None)
        if once is not None:
            await once.start(request)
        return principal

    return check


async def require_permission(
    services: Services,
    principal: Principal,
    permission: Permission,
    *,
    for_links: bool = True,
    while_enrolling: bool = False,
) -> None:
    """What :func:`authorised` asks, for what is no route.

    Raises:
        ForbiddenError: When the caller lacks it, which is put on record.
        SecondFactorRequiredError: When they have to enrol a second factor first.
        LinkHolderError: When it is not enough for them.
    """
    await services.people.identity.require(principal, permission, while_enrolling=while_enrolling)
    if principal.kind is Kind.LINK and not for_links:
        raise LinkHolderError
