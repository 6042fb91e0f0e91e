"""What identity refuses."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class UnauthenticatedError(UndercroftError):
    """No key, or one that is unknown, expired or revoked: which of them is not said."""

    def __init__(self, message: str = "The API key is not valid.") -> None:
        super().__init__(message, kind=ErrorKind.UNAUTHENTICATED, code="invalid_api_key")


class ForbiddenError(UndercroftError):
    """The caller is known and lacks the permission."""

    def __init__(self, permission: str) -> None:
        super().__init__(
            f"This key may not do that; it needs the permission '{permission}'. Ask an admin of your tenant.",
            kind=ErrorKind.FORBIDDEN,
        )
