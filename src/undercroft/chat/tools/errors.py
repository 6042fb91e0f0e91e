"""What goes wrong with tools elsewhere."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class ToolServerError(UndercroftError):
    """A server of tools cannot be used."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(
            f"The tool server '{label}' {reason}. Check it, or leave it out of 'tools'.",
            kind=ErrorKind.UPSTREAM_FAILED,
            param="tools",
            code="tool_server_failed",
        )


class ToolNotAllowedError(UndercroftError):
    """A tool elsewhere was not to be told what its call was made from."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The tool was not called: {reason}",
            kind=ErrorKind.FORBIDDEN,
            param="tools",
            code="tool_not_allowed",
        )


class TooManyCallsError(UndercroftError):
    """As many calls were made for a response as may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"At most {most} calls of tools are made for a response. Ask again to have more made.",
            kind=ErrorKind.RATE_LIMITED,
            param="tools",
            code="too_many_tool_calls",
        )


class InterruptedCallError(UndercroftError):
    """Whoever made a response broke off when a tool may have been called."""

    def __init__(self) -> None:
        super().__init__(
            "The service was interrupted while tools were being called for this answer. It is not known whether the "
            "last call did what it was to do, and it was not repeated. Find out before you ask again.",
            kind=ErrorKind.UNAVAILABLE,
            code="tool_call_interrupted",
            retry_after=1,
        )
