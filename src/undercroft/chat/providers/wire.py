"""What requests to model servers of every API have in common, and their answers. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from undercroft.chat.providers.protocol import GenerationRequest, Usage

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]

MAX_MODELS: Final = 2000
MAX_CALLS: Final = 128
_CHARACTERS_PER_TOKEN: Final = 4
"""For estimates, where the server does not count: about what English takes."""


class Wire(BaseModel):
    """What a server sends; what is not known here is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class MalformedAnswerError(Exception):
    """The events do not add up to an answer."""


def given(fields: Mapping[str, object]) -> dict[str, Any]:
    """Those fields of a request that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def estimated_usage(request: GenerationRequest, characters: int) -> Usage:
    """From the length of the prompt and of the answer, where the server did not count."""
    prompt = sum(len(message.content) for message in request.messages)
    return Usage(estimated_tokens(prompt), estimated_tokens(characters), estimated=True)


def estimated_tokens(characters: int) -> int:
    """About how many tokens so many characters are."""
    return -(-characters // _CHARACTERS_PER_TOKEN)
