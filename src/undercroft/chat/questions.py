"""What is asked."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from undercroft.chat.providers.images import Image, moved
from undercroft.chat.providers.options import NO_OPTIONS, Options
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.tools.models import RemoteCall, RemoteServer
from undercroft.retrieval.filters import Filter
from undercroft.retrieval.search.models import Quality

MOST_FILES: Final = 20
"""How many documents one question shows."""


_NOTHING: Final = Message(Role.USER, "")


@dataclass(frozen=True, slots=True)
class FileSearch:
    """Which collections an answer is made from.

    Attributes:
        limit: The most passages that are shown to the model.
        threshold: Passages scored below it are left out; scores are in (0, 1].
        filter: What a document has to be for its passages to be shown.
        quality: How much is looked at.
    """

    collection_ids: tuple[UUID, ...]
    limit: int
    threshold: float = 0.0
    filter: Filter | None = None
    quality: Quality = Quality.BALANCED


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be answered, and how.

    Attributes:
        messages: The conversation, the question last.
        instructions: Of the caller, for the model; put before ours.
        model: A model's id; the registry's default is the caller's to fill in.
        search: None answers without documents.
        options: What is asked beyond text.
        is_confined: Whether something in the messages may not be sent to a model elsewhere.
        is_untraced: Whether something in the messages is an answer, or what came of a call, of which nobody here knows
            what it was made from.
        keeps_all_turns: Whether it is refused where a turn would have to be left out for it to fit.
        servers: Whose tools are offered to the model and called here.
        approved: Calls of those that somebody has approved, to be made before the model is asked.
        max_tool_calls: How many calls of those are made at most.
        files: Documents whose text is shown to the model before the question, as far as whoever asks may search them.
        reserved_tokens: How many tokens were reserved for it, where a quota of them applies.
    """

    messages: tuple[Message, ...]
    model: str
    instructions: str | None = None
    search: FileSearch | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    options: Options = NO_OPTIONS
    is_confined: bool = False
    is_untraced: bool = False
    keeps_all_turns: bool = False
    servers: tuple[RemoteServer, ...] = ()
    approved: tuple[RemoteCall, ...] = ()
    max_tool_calls: int | None = None
    files: tuple[UUID, ...] = ()
    reserved_tokens: int | None = None

    @property
    def text(self) -> str:
        """What the person asked last."""
        return self._asked.said

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures that go with that."""
        return moved(self._asked.images, -self._asked.quoted)

    @property
    def attached(self) -> str:
        """The files that came with that, fenced."""
        return self._asked.content[: self._asked.quoted]

    @property
    def shows_files(self) -> bool:
        """Whether it is asked about files, beside whatever is searched."""
        return bool(self.files or self.attached)

    @property
    def _asked(self) -> Message:
        asked = (message for message in reversed(self.messages) if message.role is Role.USER)
        return next(asked, _NOTHING)

    def around(self) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """What was said before the question, and what came after it: calls of functions and their results."""
        last = max(i for i, message in enumerate(self.messages) if message.role is Role.USER)
        return self.messages[:last], self.messages[last + 1 :]

    @property
    def has_functions(self) -> bool:
        """Whether functions, the client's or remote tools, may still add to the answer, or have."""
        has_any = bool(self.options.tools or self.servers)
        offers = has_any and self.options.tool_choice.mode != "none"
        return offers or any(message.role is Role.TOOL for message in self.around()[1])
