"""What the service asks of a language model, whoever runs it.

Every implementation passes one suite, ``tests/chat/providers/test_conformance.py``.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, Protocol, TypeAlias
from uuid import UUID

from undercroft.chat.providers.images import Image
from undercroft.chat.providers.options import NO_OPTIONS, Ability, Options
from undercroft.kit.errors import InvalidRequestError
from undercroft.retrieval.passages import LaterHeadings

MAX_STOP_STRINGS: Final = 16
MAX_STOP_CHARACTERS: Final = 256

PASSAGE_FENCE: Final = "<<<"
"""How the lines begin that open and close a passage in a prompt; no passage's own text has it."""

UNCITED: Final = 0
"""The number of what a model is shown and nothing can point to: a file that came with the request."""

Location: TypeAlias = Literal["local", "external"]
"""Whether text given to a model stays on machines of this service's operator (invariant 11)."""


class Role(StrEnum):
    """Who speaks. OpenAI's ``developer`` is mapped to ``SYSTEM`` at the edge."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the client's functions that a model asked for.

    Attributes:
        id: Chosen by the model's server; its result is given back under it.
        name: The function.
        arguments: JSON, as the model wrote it: it may be malformed.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought before it spoke. It is for nobody but who made it, who wants it back as it was.

    Attributes:
        provider: The name of who made it.
        model: The model.
        content: As that provider's API has it; nobody else knows what it means.
    """

    provider: str
    model: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the prompt.

    Attributes:
        role: Who speaks.
        content: Plain text.
        tool_calls: What the assistant asked for.
        tool_call_id: Which call this is the result of; set in the role ``TOOL`` alone.
        reasoning: What the assistant thought before it said so. Each provider is given its own alone.
        sealed: What is carried with it that only a kept response's key opens; none by the time that a model is asked.
        images: Pictures, each before a character of the text; of a user alone.
        quoted: How many characters at its beginning are files that it shows, as data; the rest is what is said.
        is_summary: Whether it stands for all that was said before it: it is left out last.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: tuple[Reasoning, ...] = ()
    sealed: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    quoted: int = 0
    is_summary: bool = False

    @property
    def said(self) -> str:
        """What is said, without the files before it."""
        return self.content[self.quoted :]


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as it is shown to a model.

    Attributes:
        number: The number it is cited by, from 1; ``UNCITED`` of what is no document's.
        document_id: The document it comes from.
        filename: That document's name.
        text: The passage.
        start: Offset of its first character in the document's extracted text.
        end: Offset after its last character.
        page_start: The page it begins on, from 1; None where the format has no pages.
        page_end: The page it ends on.
        headings: The headings above its beginning, outermost first.
        score: Relevance to the question; only the order means something.
        similarity: Cosine similarity of question and passage, -1 to 1; None where the vector leg did not
            propose it.
        later_headings: Where in its text further sections begin, and the headings above those.
        may_quote: Whether a citation may repeat its words.
        may_leave: Whether models of other companies may be sent it.
    """

    number: int
    document_id: UUID
    filename: str
    text: str
    start: int
    end: int
    page_start: int | None
    page_end: int | None
    headings: tuple[str, ...]
    score: float
    similarity: float | None = None
    later_headings: LaterHeadings = ()
    may_quote: bool = True
    may_leave: bool = True

    def headings_at(self, offset: int) -> tuple[str, ...]:
        """The headings above a place in its text, given in characters from its beginning."""
        begun = [path for start, path in self.later_headings if start <= offset]
        return begun[-1] if begun else self.headings


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to generate.

    Attributes:
        model: The model's id, as ``list_models`` gives it.
        messages: The whole prompt, passages included, oldest turn first.
        passages: The passages that the prompt shows, for a provider that quotes instead of writing.
        question: What the person asked, without the prompt around it; for the same.
        max_output_tokens: Upper bound on generated tokens; None leaves it to the provider.
        temperature: 0 asks for the most likely text; None for the provider's default.
        top_p: Nucleus sampling; None for the provider's default.
        stop: Texts that end the generation. They are not part of the output.
        is_confined: Whether the prompt shows what must not leave the operator's machines: then no external provider is
            asked, not even when the local ones fail.
        options: What is asked beyond text.
        prefix: The beginning of the answer, which is there already: only what follows it is generated. It counts as
            generated, in the usage and for the limit.
        party: Who takes turns with others where generations have to wait: a tenant; None is a party as well.
        seconds: How long it may take in all, what was spent on other providers taken off; None leaves it to the
            provider.

    Raises:
        InvalidRequestError: A number is out of its range, or a stop string is empty or too long.
    """

    model: str
    messages: tuple[Message, ...]
    passages: tuple[Passage, ...] = ()
    question: str = ""
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    is_confined: bool = False
    options: Options = NO_OPTIONS
    prefix: str = ""
    seconds: float | None = None
    party: UUID | None = None

    def __post_init__(self) -> None:
        if self.max_output_tokens is not None and self.max_output_tokens < 1:
            raise InvalidRequestError("Ask for at least one token.", param="max_output_tokens")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise InvalidRequestError("temperature must be from 0 to 2.", param="temperature")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidRequestError("top_p must be above 0 and at most 1.", param="top_p")
        if len(self.stop) > MAX_STOP_STRINGS or any(
            not 0 < len(text) <= MAX_STOP_CHARACTERS for text in self.stop
        ):
            raise InvalidRequestError(
                f"Give at most {MAX_STOP_STRINGS} stop strings of 1 to {MAX_STOP_CHARACTERS} characters.",
                param="stop",
            )

    def needs(self) -> frozenset[Ability]:
        """What a model must be able to do for it."""
        needs = needed(self.messages, self.options)
        return needs | {Ability.CONTINUE} if self.prefix else needs


def needed(messages: Iterable[Message], options: Options) -> frozenset[Ability]:
    """What a model must be able to do: a conversation with calls in it takes one that makes them; and so on."""
    needs = set(options.needs())
    for message in messages:
        if message.tool_calls or message.role is Role.TOOL:
            needs.add(Ability.TOOLS)
        if message.images:
            needs.add(Ability.IMAGES)
        if message.quoted:
            needs.add(Ability.FILES)
    return frozenset(needs)


class FinishReason(StrEnum):
    """Why a generation ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely a token was.

    Attributes:
        token: As text.
        logprob: The logarithm of its probability.
        bytes: Its bytes, where the server gives them: a token may be part of a character.
        top: The likeliest tokens in its place.
    """

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of text, never empty and never half of a character.

    Attributes:
        text: The piece.
        logprobs: Of its tokens, where they were asked for.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next piece of a call that the model asks for.

    Attributes:
        index: Which of the answer's calls, from 0; a new one is one more than the last.
        arguments: The next piece of its arguments; may be empty in the first piece.
        id: The call's id; in its first piece alone.
        name: The function; in its first piece alone.
    """

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of what the model thinks, never empty. It comes before what it says.

    Attributes:
        text: The piece.
        is_summary: Whether it is what its server tells of the thoughts, and not the thoughts themselves.
    """

    text: str
    is_summary: bool = False


@dataclass(frozen=True, slots=True)
class ReasoningEnded:
    """A thought is whole.

    Attributes:
        reasoning: To be given back with what the model says next.
    """

    reasoning: Reasoning


@dataclass(frozen=True, slots=True)
class Usage:
    """What a generation consumed, in tokens of the model that ran it.

    Attributes:
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens generated.
        estimated: True when the model's server did not say, and the figures are derived from the
            text's length.
        cached_tokens: Tokens of the prompt that the model's server had read before, as it says.
        reasoning_tokens: Of those generated, how many it says were thoughts.
    """

    input_tokens: int
    output_tokens: int
    estimated: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every generation that did not fail."""

    reason: FinishReason
    usage: Usage


GenerationEvent: TypeAlias = TextDelta | ToolCallDelta | ReasoningDelta | ReasoningEnded | Finished


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a provider offers.

    Attributes:
        id: The name requests use.
        owned_by: Who offers it, as ``GET /v1/models`` reports it.
        created: Unix seconds, where known.
        context_tokens: The longest prompt and answer together, in tokens, where known.
    """

    id: str
    owned_by: str
    created: int | None = None
    context_tokens: int | None = None


class ModelProvider(Protocol):
    """Whoever generates text."""

    @property
    def name(self) -> str:
        """A short stable name for logs, metrics and the operator."""
        ...

    @property
    def location(self) -> Location:
        """Whether text given to this provider leaves the operator's machines."""
        ...

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do beyond text. It is never asked for more."""
        ...

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The models offered now.

        Raises:
            UndercroftError: The provider cannot be reached in time.
        """
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams any number of deltas and then exactly one ``Finished``.

        Closing the generator cancels the work behind it at once. A generation that cannot be
        completed raises; it never just ends.

        Raises:
            UndercroftError: Nothing or not everything could be generated; the message says why.
        """
        ...

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """How long each text is to its models; None where only their server knows.

        Raises:
            UndercroftError: It knows, and cannot be asked now.
        """
        ...

    async def close(self) -> None:
        """Releases connections and processes. Generations still running end with an error."""
        ...
