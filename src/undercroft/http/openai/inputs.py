"""What the requests of several OpenAI faces hold alike: messages, and the file search."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from undercroft.chat.answering import FileSearch
from undercroft.chat.providers.protocol import Message, Role
from undercroft.http.wire import JsonObject, RequestBody, require_id
from undercroft.kit.errors import InvalidRequestError
from undercroft.retrieval.collections.models import COLLECTION_PREFIX

LongText: TypeAlias = Annotated[str, Field(max_length=1_000_000)]


class TextPart(RequestBody):
    """A piece of text of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: LongText
    annotations: list[JsonObject] = Field(default_factory=list)
    logprobs: list[JsonObject] | None = None
    parsed: None = None


class Turn(RequestBody):
    """One message of a conversation, as far as the faces agree on it."""

    role: Literal["user", "assistant", "system", "developer"]
    content: LongText | Annotated[list[TextPart], Field(max_length=100)]

    def as_message(self) -> Message:
        """The message as models take it."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        role = Role.SYSTEM if self.role == "developer" else Role(self.role)
        return Message(role, text)


class RankingOptions(RequestBody):
    """How found passages are filtered by their rank-derived score."""

    ranker: Literal["auto", "none"] = "auto"
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0


class FileSearchTool(RequestBody):
    """Answer from the documents of these vector stores."""

    type: Literal["file_search"]
    vector_store_ids: Annotated[list[str], Field(min_length=1, max_length=20)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 8
    ranking_options: RankingOptions | None = None
    filters: None = None

    def as_search(self) -> FileSearch:
        """Where to search.

        Raises:
            NotFoundError: When an id cannot be a vector store's.
        """
        collection_ids = [
            require_id(COLLECTION_PREFIX, "vector store", text, "tools.0.vector_store_ids")
            for text in self.vector_store_ids
        ]
        threshold = self.ranking_options.score_threshold if self.ranking_options else 0.0
        return FileSearch(tuple(dict.fromkeys(collection_ids)), self.max_num_results, threshold)


class NamedTool(RequestBody):
    """Requires the file search."""

    type: Literal["file_search"]


ToolChoice: TypeAlias = Literal["auto", "required", "none"] | NamedTool


def requested_search(tools: Sequence[FileSearchTool], choice: ToolChoice) -> FileSearch | None:
    """Where to search, if anywhere.

    Raises:
        InvalidRequestError: When a search is required and no tool says where.
        NotFoundError: When an id cannot be a vector store's.
    """
    if choice == "none":
        return None
    if tools:
        return tools[0].as_search()
    if choice != "auto":
        raise InvalidRequestError(
            "A search is required, but there is no file_search tool in 'tools' to say where.",
            param="tool_choice",
        )
    return None


def require_question(messages: Sequence[Message], param: str) -> None:
    """Refuse a conversation in which nobody asks anything.

    Args:
        messages: The conversation.
        param: The request field that holds it.

    Raises:
        InvalidRequestError: When no message of a user has any text.
    """
    if not any(message.role is Role.USER and message.content.strip() for message in messages):
        raise InvalidRequestError("There is no user message to answer.", param=param)
