"""What keys refuse."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class TenantHeldError(UndercroftError):
    """A legal hold keeps the tenant's keys from being destroyed."""

    def __init__(self) -> None:
        super().__init__(
            "Documents of this tenant are under legal hold. Have an admin lift every hold before its keys are "
            "destroyed.",
            kind=ErrorKind.CONFLICT,
            code="legal_hold",
        )


class KeyDestroyedError(UndercroftError):
    """The tenant's key was destroyed, and with it everything that it encrypted."""

    def __init__(self) -> None:
        super().__init__(
            "This tenant's key was destroyed: what it encrypted can be read by nobody any more.",
            kind=ErrorKind.GONE,
            code="key_destroyed",
        )
