"""Why an item cannot be kept."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class ReferenceTakenError(Exception):
    """Another conversation of its owner's is called so: not a failure, but the one that was meant."""


class TooManyItemsError(UndercroftError):
    """The conversation has no room for more items."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"A conversation has {most:,} items at most, the deleted ones among them. Begin another one.",
            kind=ErrorKind.CONFLICT,
            code="too_many_items",
        )


class BranchesTooDeepError(UndercroftError):
    """A branch that would begin on one that may have none."""

    def __init__(self, deepest: int) -> None:
        super().__init__(
            f"At most {deepest} branches go on from each other. Go on from the last item of this branch, from an item "
            "of an earlier one, or in another conversation.",
            kind=ErrorKind.INVALID_REQUEST,
            param="parent",
            code="branches_too_deep",
        )


class ItemTooLargeError(UndercroftError):
    """An item that is longer than any may be."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"An item has {most:,} bytes of JSON at most. Make several of it, or a file.",
            kind=ErrorKind.TOO_LARGE,
            param="items",
            code="item_too_large",
        )


class ConversationBusyError(UndercroftError):
    """An answer is being made in the conversation, and another one was not to wait for it."""

    def __init__(self) -> None:
        super().__init__(
            "An answer is being made in this conversation. Wait for its end, cancel it with POST "
            "/v1/responses/{id}/cancel, or send this with 'if_busy' as 'enqueue': it is then answered next.",
            kind=ErrorKind.CONFLICT,
            param="if_busy",
            code="conversation_busy",
        )


class QueueFullError(UndercroftError):
    """As many responses wait for their turn in the conversation as may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} responses wait for their turn in this conversation, the most that may. Try again once one of them "
            "has ended.",
            kind=ErrorKind.RATE_LIMITED,
            param="conversation",
            code="conversation_queue_full",
            retry_after=5,
        )


class TurnsChangedError(UndercroftError):
    """Some of what was said before was erased or deleted while it was being read for an answer."""

    def __init__(self) -> None:
        super().__init__(
            "Some of what was said before in this conversation was erased or deleted just now. Ask again: what is left "
            "is then answered after.",
            kind=ErrorKind.CONFLICT,
            param="conversation",
            code="turns_changed",
            retry_after=1,
        )


class NotForModelsError(UndercroftError):
    """A conversation that was shared, and not for what the model would do with it."""

    def __init__(self) -> None:
        super().__init__(
            "The conversation was not shared with you for this model: its grant's 'model_use' does not allow it. Ask "
            "another model, or its owner for a wider grant.",
            kind=ErrorKind.FORBIDDEN,
            param="conversation",
            code="not_granted",
        )
