"""What is said on a socket: requests for responses, and why one is refused or the socket ends."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic_core import to_json
from starlette.status import (
    WS_1001_GOING_AWAY,
    WS_1008_POLICY_VIOLATION,
    WS_1012_SERVICE_RESTART,
)

from undercroft.http.errors import openai_error
from undercroft.http.fields import with_dots
from undercroft.http.json_bodies import validate_model
from undercroft.http.openai.response_requests import CreateResponse
from undercroft.identity.errors import UnauthenticatedError
from undercroft.kit.errors import ErrorKind, InvalidRequestError, UnavailableError, UndercroftError
from undercroft.vault.schemas.json_text import parse_json

MOST_LANES: Final = 32
MOST_RUNNING: Final = 16
MOST_ASKED: Final = 32
"""Asked for and not ended: what does not run waits."""
LONGEST_MINUTES: Final = 60
IDLE_MINUTES: Final = 10

_CREATE: Final = "response.create"
_LANE: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_OWN_FIELDS: Final = frozenset({"type", "stream_id", "idempotency_key", "generate"})
_QUICK: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a response.

    Attributes:
        lane: The ``stream_id``: what is asked in one lane is answered in turn, and each event names it. None is a lane
            as well.
        body: What would be the body over HTTP.
        key: The idempotency key, if there is one.
        size: How long the message was.
    """

    lane: str | None
    body: Mapping[str, Any]
    key: str | None
    size: int

    def as_create(self) -> CreateResponse:
        """The body as HTTP takes it.

        Raises:
            RequestValidationError: When it is not taken.
        """
        return validate_model(self.body, CreateResponse)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the service ends a socket.

    Attributes:
        code: RFC 6455's.
        error: What is told before.
    """

    code: int
    error: UndercroftError


class LaneLimitError(InvalidRequestError):
    """As many lanes as a socket may have had."""

    def __init__(self) -> None:
        super().__init__(
            f"This socket has had {MOST_LANES} stream_ids, as many as it may. Use one of them again, or open another "
            "socket.",
            param="stream_id",
            code="websocket_stream_limit_reached",
        )


class SocketQueueFullError(UndercroftError):
    """As much waits as a socket may have waiting."""

    def __init__(self) -> None:
        super().__init__(
            "Too much waits on this socket already. Send it again when a response on it has ended.",
            kind=ErrorKind.RATE_LIMITED,
            code="websocket_queue_full",
            retry_after=1,
        )


TOO_OLD: Final = Ending(
    WS_1001_GOING_AWAY,
    InvalidRequestError(
        f"This socket has been open for {LONGEST_MINUTES} minutes, as long as it may. What runs on it ends first; open "
        "another one for what comes next.",
        code="websocket_connection_limit_reached",
    ),
)
IDLE: Final = Ending(
    WS_1001_GOING_AWAY,
    InvalidRequestError(
        f"Nothing was asked on this socket for {IDLE_MINUTES} minutes. Open another one to ask more.",
        code="websocket_idle",
    ),
)
RESTARTING: Final = Ending(
    WS_1012_SERVICE_RESTART,
    UnavailableError(
        "The service is being stopped. Open another socket in a moment; what was kept can be watched again.",
        code="service_restarting",
    ),
)
TOKEN_ENDED: Final = Ending(
    WS_1008_POLICY_VIOLATION,
    UnauthenticatedError(
        "The credential that this socket was opened with has ended. Open another one with one that is valid."
    ),
)


async def read_message(text: str | None) -> Mapping[str, Any]:
    """A message as a JSON object.

    Raises:
        InvalidRequestError: When it is none.
    """
    if text is None:
        raise InvalidRequestError("Send JSON as a text message, not as a binary one.")
    # The parsing of a long one would hold up every other stream.
    quickly = len(text) <= _QUICK
    try:
        value = parse_json(text) if quickly else await asyncio.to_thread(parse_json, text)
    except InvalidRequestError as error:
        raise with_dots(error) from error
    if not isinstance(value, dict):
        raise InvalidRequestError("Send a JSON object with the type 'response.create'.")
    return cast("Mapping[str, Any]", value)


def read_lane(message: Mapping[str, Any]) -> str | None:
    """The lane that a message is for.

    Raises:
        InvalidRequestError: When it is no name of one.
    """
    lane = message.get("stream_id")
    if lane is not None and (not isinstance(lane, str) or _LANE.fullmatch(lane) is None):
        raise InvalidRequestError(
            "A stream_id has 1 to 256 letters, digits, '_', '-' or '.'. Leave it out for the one lane without a name.",
            param="stream_id",
            code="invalid_stream_id",
        )
    return lane


def read_asked(message: Mapping[str, Any], lane: str | None, size: int) -> Asked:
    """A request for a response.

    Raises:
        InvalidRequestError: When it is another message, or asks for what goes over HTTP alone.
    """
    if message.get("type") != _CREATE:
        raise InvalidRequestError(
            f"Only '{_CREATE}' is taken here. A response is cancelled by POST /v1/responses/ID/cancel.",
            param="type",
        )
    generate = message.get("generate")
    if generate is not None and generate is not True:
        raise InvalidRequestError("Nothing is prepared ahead here; leave it out.", param="generate")
    if message.get("background") is True:
        raise InvalidRequestError(
            "Over a WebSocket a response is watched. Send it to POST /v1/responses instead.",
            param="background",
        )
    if message.get("stream") is False:
        raise InvalidRequestError(
            "Over a WebSocket it always streams; leave it out.", param="stream"
        )
    key = message.get("idempotency_key")
    if key is not None and not isinstance(key, str):
        raise InvalidRequestError("It should be a text.", param="idempotency_key")
    body = {name: value for name, value in message.items() if name not in _OWN_FIELDS}
    # What is asked over HTTP with the same key is the same.
    return Asked(lane, {**body, "stream": True}, key, size)


def encode(event: Mapping[str, Any], lane: str | None) -> str:
    """An event as a message."""
    return to_json(event if lane is None else {**event, "stream_id": lane}).decode()


def tell(error: UndercroftError) -> Mapping[str, Any]:
    """An error that is no event of a response."""
    told = openai_error(error)
    if error.retry_after is not None:
        told["headers"] = {"Retry-After": str(error.retry_after)}
    return {"type": "error", "status": error.status, "error": told}
