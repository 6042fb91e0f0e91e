"""How the events of a response end: what they come to, and what is told of an error."""

from collections.abc import AsyncGenerator

from undercroft.chat.responses.models import WireObject
from undercroft.kit.errors import ErrorKind, UndercroftError


async def whole_of(events: AsyncGenerator[WireObject]) -> WireObject:
    """The response that events end with.

    Raises:
        UndercroftError: When they end with an error.
    """
    resource: WireObject = {}
    error: WireObject | None = None
    async for event in events:
        resource = event.get("response", resource)
        error = event["error"] if event["type"] == "error" else error
    if error is not None:
        # Those that were made again long after do not tell of what kind it was.
        kind = ErrorKind(error.get("type", ErrorKind.UPSTREAM_FAILED))
        raise UndercroftError(error["message"], kind=kind, code=error["code"], param=error["param"])
    return resource


def tell_end(error: UndercroftError, number: int) -> WireObject:
    """The event that ends a stream which its watcher may not see any more."""
    code = error.code or error.kind.value
    fields = {"code": code, "message": error.message, "param": error.param}
    return {
        "type": "error",
        "sequence_number": number,
        "error": {"type": error.kind.value, **fields},
        **fields,
    }
