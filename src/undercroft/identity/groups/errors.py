"""What is refused of groups."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class GroupExistsError(UndercroftError):
    """The tenant has a group of that name."""

    def __init__(self) -> None:
        super().__init__(
            "Your tenant has a group with this name already. Choose another.",
            kind=ErrorKind.CONFLICT,
            param="name",
            code="group_exists",
        )


class StaleGroupError(UndercroftError):
    """The group was changed since the caller read it."""

    def __init__(self) -> None:
        super().__init__(
            "The group was changed since you read it. Read it again and decide again, with its new ETag.",
            kind=ErrorKind.PRECONDITION_FAILED,
        )
