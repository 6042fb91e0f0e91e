"""What responses refuse."""

from uuid import UUID

from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError
from undercroft.kit.ids import render_id

_PREVIOUS = "previous_response_id"


class AlreadySummedUpError(Exception):
    """Somebody else sums a conversation up, or has."""


class SourceErasedError(UndercroftError):
    """A document that the response was made from was erased."""

    def __init__(self) -> None:
        super().__init__(
            "A document that this answer was made from was erased, and the answer with it. Ask again, or delete it.",
            kind=ErrorKind.GONE,
            code="source_erased",
        )


class NoProvenanceError(UndercroftError):
    """An answer of which it was not recorded where it comes from."""

    def __init__(self) -> None:
        super().__init__(
            "Of this answer it is not on record where it comes from: it is older than that, or its search did not end. "
            "Ask again.",
            kind=ErrorKind.CONFLICT,
            code="no_provenance",
        )


class ThoughtNotOpenedError(InvalidRequestError):
    """A thought of a response that was not kept was altered, or is somebody else's."""

    def __init__(self) -> None:
        super().__init__(
            "The 'encrypted_content' of a reasoning item does not open: it was altered, or given to somebody else. "
            "Leave the item out; the model thinks anew.",
            param="input",
            code="reasoning_not_opened",
        )


class PreviousNotFoundError(UndercroftError):
    """There is no response to go on from, or none that the caller may know of."""

    def __init__(self, response_id: UUID | str) -> None:
        if isinstance(response_id, UUID):
            identifier = render_id(RESPONSE_PREFIX, response_id)
        else:
            identifier = response_id.encode("ascii", "replace").decode()
        super().__init__(
            f"No response with id '{identifier}' to go on from. It has to be one that was kept; else send all turns "
            "in 'input'.",
            kind=ErrorKind.NOT_FOUND,
            param=_PREVIOUS,
            code="previous_response_not_found",
        )


class CompactionNotFoundError(UndercroftError):
    """What an item that was compacted stands for is gone, or the caller or the model may not have it any more."""

    def __init__(self) -> None:
        super().__init__(
            "A compaction in 'input' cannot be opened: what it sums up was deleted, is none that you may read now, or "
            "not one that this model may be shown. Leave it out, or send the turns themselves.",
            kind=ErrorKind.NOT_FOUND,
            param="input",
            code="compaction_not_found",
        )


class PreviousGoesOnError(UndercroftError):
    """The response to go on from is still being made."""

    def __init__(self) -> None:
        super().__init__(
            "The response to go on from is still being made. Wait for its end, or cancel it.",
            kind=ErrorKind.CONFLICT,
            param=_PREVIOUS,
            code="previous_response_in_progress",
            retry_after=1,
        )


class PreviousNotForModelsError(UndercroftError):
    """A response that was shared, and not for what the model would do with it."""

    def __init__(self) -> None:
        super().__init__(
            "The response to go on from was not shared with you for this model: its grant's 'model_use' does not allow "
            "it. Ask another model, or its owner for a wider grant.",
            kind=ErrorKind.FORBIDDEN,
            param=_PREVIOUS,
            code="not_granted",
        )
