"""Which pages may call where no browser asks before, as it does under CORS."""

from starlette.requests import HTTPConnection

from undercroft.kit.errors import ErrorKind, UndercroftError


class OriginError(UndercroftError):
    """A page of another origin, in somebody's browser, sends it."""

    def __init__(self) -> None:
        super().__init__(
            "Pages of this origin may not call the service; the operator lists those that may in cors_origins.",
            kind=ErrorKind.FORBIDDEN,
            param="Origin",
            code="unknown_origin",
        )


def require_known_origin(connection: HTTPConnection, known: tuple[str, ...]) -> None:
    """Refuse other sites' pages: a name of theirs may lead to this machine.

    A page of the service's own has the host that was asked for, which is one of those that are served.

    Raises:
        OriginError: When it is one.
    """
    origin = connection.headers.get("origin")
    if origin is None or origin in known:
        return
    if origin.partition("://")[2] != connection.headers.get("host"):
        raise OriginError
