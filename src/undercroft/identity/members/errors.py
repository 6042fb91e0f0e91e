"""What is refused of the management of users."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class UserExistsError(UndercroftError):
    """The tenant has a user with that address, or a service with that name."""

    def __init__(self, param: str) -> None:
        what = "a user with this address" if param == "email" else "a service with this name"
        super().__init__(
            f"Your tenant has {what} already. GET /v1/users lists them.",
            kind=ErrorKind.CONFLICT,
            param=param,
            code="user_exists",
        )


class OwnsObjectsError(UndercroftError):
    """Removing the user would leave what they own without an owner."""

    def __init__(self) -> None:
        super().__init__(
            "The user still owns documents, vector stores, records, schemas, answers or uploads, or work of theirs "
            "is running. Removing them deletes none of it: let them delete it first. To end their access at once, "
            "suspend them.",
            kind=ErrorKind.CONFLICT,
            code="user_owns_objects",
        )


class StaleUserError(UndercroftError):
    """The user was changed since the caller read them."""

    def __init__(self) -> None:
        super().__init__(
            "The user was changed since you read them. Read them again and decide again, with their new ETag.",
            kind=ErrorKind.PRECONDITION_FAILED,
        )


class NoAdminAnyMoreError(UndercroftError):
    """The caller was an admin when the request began, and is none now."""

    def __init__(self) -> None:
        super().__init__(
            "You are no admin of your tenant any more. Ask one.", kind=ErrorKind.FORBIDDEN
        )
