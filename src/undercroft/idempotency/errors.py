"""Why a request with an idempotency key is not carried out, or not answered again."""

from typing import Final

from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError

KEY_HEADER: Final = "Idempotency-Key"


class MalformedKeyError(InvalidRequestError):
    """The header is no key."""

    def __init__(self) -> None:
        super().__init__(
            f"Send one {KEY_HEADER} of 1 to 255 printable ASCII characters, such as a random UUID.",
            param=KEY_HEADER,
            code="malformed_idempotency_key",
        )


class KeyNotTakenError(InvalidRequestError):
    """The route takes no key."""

    def __init__(self) -> None:
        super().__init__(
            f"This path takes no {KEY_HEADER}: it keeps no answers. Leave it out.",
            param=KEY_HEADER,
            code="idempotency_key_not_taken",
        )


class OtherRequestError(UndercroftError):
    """The key was used for something else."""

    def __init__(self) -> None:
        super().__init__(
            f"This {KEY_HEADER} was used for another request in the last 24 hours. Use a new one for each.",
            kind=ErrorKind.UNPROCESSABLE,
            param=KEY_HEADER,
            code="idempotency_key_reused",
        )


class StillGoingOnError(UndercroftError):
    """The first request with the key has not ended."""

    def __init__(self) -> None:
        super().__init__(
            f"A request with this {KEY_HEADER} is being carried out. Send it again in a second.",
            kind=ErrorKind.CONFLICT,
            param=KEY_HEADER,
            code="idempotency_key_in_use",
            retry_after=1,
        )


class AnswerErasedError(UndercroftError):
    """What the answer was about is gone."""

    def __init__(self) -> None:
        super().__init__(
            f"The request with this {KEY_HEADER} was carried out; its answer was erased with what it was about.",
            kind=ErrorKind.GONE,
            param=KEY_HEADER,
            code="answer_erased",
        )


class TooManyKeysError(UndercroftError):
    """The principal has as many kept answers as there may be."""

    def __init__(self) -> None:
        super().__init__(
            f"Too many requests with an {KEY_HEADER} in 24 hours. Try later, or leave it out where a repetition does"
            " no harm.",
            kind=ErrorKind.RATE_LIMITED,
            param=KEY_HEADER,
            code="too_many_idempotency_keys",
            retry_after=3600,
        )


class AnswerTooLargeError(UndercroftError):
    """The answer is larger than what is kept."""

    def __init__(self) -> None:
        super().__init__(
            f"The answer is too large to be kept, and nothing was done. Send it without an {KEY_HEADER}.",
            kind=ErrorKind.UNPROCESSABLE,
            param=KEY_HEADER,
            code="answer_too_large",
        )
