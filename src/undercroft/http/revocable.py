"""Bytes that rest on grants: they stop when one of those ends, and the connection with them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as RequestScope

from undercroft.http.protocol import ABORT
from undercroft.kit.errors import UndercroftError
from undercroft.kit.scope import Scope
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import Release
from undercroft.sharing.watching import WatchedGrants

_log = structlog.stdlib.get_logger(__name__)


class RevocableResponse(StreamingResponse):
    """A download of what may be another's.

    When it is cut, or the rest turns out to be damaged or missing, its status and length are long sent. It ends before
    that length, so that the server closes the connection and no client takes what it has for the whole. When it is cut
    the connection is aborted: what of it waits in buffers on this machine is not sent either.
    """

    _abort: Callable[[], None] | None = None

    def __init__(
        self,
        watched: WatchedGrants,
        caller: Scope,
        releases: Sequence[Release],
        blocks: AsyncIterator[bytes],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(blocks, status_code, headers, media_type="application/octet-stream")
        self._watched = watched
        self._caller = caller
        self._releases = releases

    async def __call__(self, scope: RequestScope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        self._abort = scope.get("extensions", {}).get(ABORT)
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send it while the grants last."""
        try:
            async with self._watched.cutting(self._caller, self._releases):
                await super().stream_response(send)
        except AccessRevokedError:
            _log.info("download_cut")
            if self._abort is not None:
                self._abort()
        except UndercroftError as error:
            _log.error("download_broken", code=error.code)
