"""``Idempotency-Key``: a POST that is repeated with the same one has one effect and one answer.

For each route it is decided in ``idempotent_routes.py`` how that is kept. Most do what they do in one transaction,
which claims the key first and keeps the answer last: see :class:`undercroft.kit.joined.JoinedTransaction`.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute

from undercroft.http.errors import OAUTH_ROOT
from undercroft.http.idempotent_routes import TAKING_NONE, WAYS, Way
from undercroft.http.openai.contract import errors, oauth_errors
from undercroft.http.request_digest import digest_request, digest_said
from undercroft.http.sharing_views import parse_resource
from undercroft.idempotency.errors import KEY_HEADER, KeyNotTakenError
from undercroft.idempotency.models import Answer, RequestKey, read_key
from undercroft.idempotency.service import AnsweredError, CarriedOut, IdempotencyKeys
from undercroft.identity.models import Principal
from undercroft.sharing.models import Resource

REPLAYED_HEADER: Final = "Idempotency-Replayed"

_FIRST_ERROR: Final = 400
_STATUSES: Final = (409, 410, 429)
_PARAMETER: Final = {
    "name": KEY_HEADER,
    "in": "header",
    "required": False,
    "description": "Names the request, for 24 hours: sent again with the same key it has no other effect.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}

Recheck = Callable[[Principal, Resource], Awaitable[object]]
"""Refuses whoever may not know of a thing any more."""


class OneEffect:
    """A request that brings a key, from its access check to its answer.

    Args:
        keys: Claim keys and keep answers.
        recheck: Whether the caller may still know of a thing.
        principal: The caller.
        route: What is asked for.
        text: The key.
    """

    def __init__(
        self,
        keys: IdempotencyKeys,
        recheck: Recheck,
        principal: Principal,
        route: APIRoute,
        text: str,
    ) -> None:
        self._keys = keys
        self._recheck = recheck
        self._principal = principal
        self._route = route
        self._text = text
        self._stack = AsyncExitStack()
        self._carried_out: CarriedOut | None = None

    async def start(self, request: Request) -> None:
        """The caller may call this route: whatever it does from here on is one transaction.

        Raises:
            AnsweredError: When the request was carried out before.
        """
        said = await digest_request(self._route, request, self._principal.purpose)
        asked = _asked_with(said, self._principal)
        key = RequestKey(_route_name(self._route), self._text, asked)
        answer = await self._keys.find(self._principal, key)
        if answer is not None:
            raise AnsweredError(answer)
        carrying_out = self._keys.carrying_out(self._principal, key)
        self._carried_out = await self._stack.enter_async_context(carrying_out)

    async def answer(self, handle: Callable[[], Awaitable[Response]], request: Request) -> Response:
        """What the route answers, or has answered before."""
        try:
            async with self._stack:
                response = await handle()
                if self._carried_out is not None and response.status_code < _FIRST_ERROR:
                    await self._carried_out.keep(_answer_of(request, response))
        except AnsweredError as known:
            return await self._replay(known.answer)
        return response

    async def _replay(self, answer: Answer) -> Response:
        """The answer, for whoever may still know of what it is about."""
        for thing in answer.things:
            resource = parse_resource(thing)
            if resource is not None:
                await self._recheck(self._principal, resource)
        response = Response(answer.body, answer.status)
        for name, value in answer.headers:
            response.headers[name] = value
        response.headers[REPLAYED_HEADER] = "true"
        return response


def with_key(path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A route's options, with what its documentation says of the key where it takes one."""
    documented = dict(options)
    way = WAYS.get(f"POST {path}") if "POST" in (options.get("methods") or ()) else None
    if way is None or way in TAKING_NONE:
        return documented
    extra = dict(options.get("openapi_extra") or {})
    # Whoever includes a router makes its routes anew, from options that have it by then.
    parameters = [entry for entry in extra.get("parameters", ()) if entry != _PARAMETER]
    documented["openapi_extra"] = {**extra, "parameters": [*parameters, _PARAMETER]}
    if way in {Way.ONE_TRANSACTION, Way.ATTACHES}:
        known = (oauth_errors if path.startswith(OAUTH_ROOT) else errors)(*_STATUSES)
        given: Mapping[int | str, Any] = options.get("responses") or {}
        documented["responses"] = {**{status: known[status] for status in _STATUSES}, **given}
    return documented


def sent_key(request: Request) -> str | None:
    """The key that a POST brings.

    Raises:
        MalformedKeyError: When it is none.
    """
    values = request.headers.getlist(KEY_HEADER)
    return read_key(values) if values and request.method == "POST" else None


async def asked_key(request: Request, principal: Principal) -> RequestKey | None:
    """The key that a POST brings to a route that attaches what is repeated to what was made.

    Raises:
        MalformedKeyError: When it is none.
    """
    text = sent_key(request)
    if text is None:
        return None
    route = cast("APIRoute", request.scope["route"])
    said = await digest_request(route, request, principal.purpose)
    return RequestKey(_route_name(route), text, _asked_with(said, principal))


def named_key(request: Request, principal: Principal, name: str, said: bytes) -> RequestKey:
    """The key of a request that brings none and has a name of its own; ``said``: a digest of what it asks."""
    route = cast("APIRoute", request.scope["route"])
    return RequestKey(_route_name(route), name, _asked_with(said, principal))


async def message_key(
    route_name: str, text: str, body: Mapping[str, Any], principal: Principal
) -> RequestKey:
    """The key of what is asked by no request of its own, as if the body had been sent to the route.

    Raises:
        MalformedKeyError: When it is none.
    """
    said: dict[str, object] = {
        "path": {},
        "query": [],
        "headers": [],
        "purpose": principal.purpose,
        "body": {"json": body},
    }
    return RequestKey(route_name, read_key([text]), _asked_with(await digest_said(said), principal))


def refuse_key(request: Request) -> None:
    """Where no answers are kept.

    Raises:
        KeyNotTakenError: When a POST brings a key.
    """
    if request.method == "POST" and KEY_HEADER in request.headers:
        raise KeyNotTakenError


def keeps_answers(route: APIRoute) -> bool:
    """Whether what a POST with a key does on a route commits with its answer.

    Raises:
        KeyNotTakenError: When the route takes no keys.
    """
    way = WAYS.get(_route_name(route))
    if way in TAKING_NONE:
        raise KeyNotTakenError
    return way is Way.ONE_TRANSACTION


def _route_name(route: APIRoute) -> str:
    """How a POST route is called where keys are kept, and listed."""
    return f"POST {route.path}"


def _asked_with(said: bytes, caller: Principal) -> bytes:
    """A request with the rights it came with: its answer, a new API key say, is for nobody who has other ones now."""
    scopes = "all" if caller.scopes is None else " ".join(sorted(caller.scopes))
    return hashlib.sha256(said + f"{caller.role} {scopes}".encode()).digest()


def _answer_of(request: Request, response: Response) -> Answer:
    headers = [
        (name, value) for name, value in response.headers.items() if name != "content-length"
    ]
    body = bytes(response.body)
    return Answer(response.status_code, headers, body, _things(request, body))


def _things(request: Request, body: bytes) -> list[str]:
    """Which things that can be shared the caller has to know of, to be given the answer again."""
    told = _object(body)
    if told.get("deleted") is True or told.get("erased") is True:
        return []
    named = dict.fromkeys([*map(str, request.path_params.values()), str(told.get("id"))])
    return [text for text in named if parse_resource(text) is not None]


def _object(body: bytes) -> Mapping[str, object]:
    try:
        shown: object = json.loads(body)
    except ValueError:
        return {}
    return cast("Mapping[str, object]", shown) if isinstance(shown, dict) else {}
