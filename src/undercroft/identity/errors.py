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


class PersonRequiredError(UndercroftError):
    """An account is its person's own: no service and no narrowed key looks after it."""

    def __init__(self) -> None:
        super().__init__(
            "Only the person themselves may do this, with a session, or a key that is not narrowed.",
            kind=ErrorKind.FORBIDDEN,
            code="person_required",
        )
