"""What the requests of several OpenAI faces hold alike: messages, and the file search."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from undercroft.chat.answering import FileSearch
from undercroft.chat.providers.options import FunctionTool, ToolChoice
from undercroft.chat.providers.protocol import Message, Role
from undercroft.http.wire import JsonObject, RequestBody, require_id
from undercroft.kit.errors import InvalidRequestError
from undercroft.retrieval.collections.models import COLLECTION_PREFIX

LongText: TypeAlias = Annotated[str, Field(max_length=1_000_000)]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]


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
        role = Role.SYSTEM if self.role == "developer" else Role(self.role)
        return Message(role, joined(self.content))


def joined(content: str | Sequence[TextPart] | None) -> str:
    """The text of a message, however it was given."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)


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


ToolMode: TypeAlias = Literal["auto", "required", "none"]


def requested_search(
    tools: Sequence[FileSearchTool], choice: ToolMode | NamedTool, *, has_functions: bool = False
) -> FileSearch | None:
    """Where to search, if anywhere. The service decides, not the model: where it may, it does.

    Args:
        tools: The file searches.
        choice: What the request says of its tools.
        has_functions: Whether there are other tools, which may be what is required.

    Raises:
        InvalidRequestError: When a search is required and no tool says where, or there are two.
        NotFoundError: When an id cannot be a vector store's.
    """
    if choice == "none":
        return None
    if len(tools) > 1:
        raise InvalidRequestError(
            "Give at most one file_search; it may name several vector stores.", param="tools"
        )
    if tools:
        return tools[0].as_search()
    if choice != "auto" and not (choice == "required" and has_functions):
        raise InvalidRequestError(
            "A search is required, but there is no file_search tool in 'tools' to say where.",
            param="tool_choice",
        )
    return None


def chosen_functions(
    functions: Sequence[FunctionTool],
    choice: ToolMode | NamedTool | str,
    name: str | None,
    *,
    searches: bool,
) -> ToolChoice:
    """Whether the client's functions may, must or must not be called.

    Args:
        functions: The functions offered.
        choice: What the request says of its tools.
        name: The function that it says must be called.
        searches: Whether documents are searched: then a call of some tool is made whatever the model does.

    Raises:
        InvalidRequestError: When two functions share a name, or none has the one that must be called.
    """
    names = {function.name for function in functions}
    if len(names) < len(functions):
        raise InvalidRequestError("Two functions have the same name.", param="tools")
    if name is not None:
        if name not in names:
            raise InvalidRequestError(
                f"The function '{name}' is required, but it is not in 'tools'.", param="tool_choice"
            )
        return ToolChoice("required", name)
    if isinstance(choice, NamedTool) or choice == "none":
        return ToolChoice("none")
    return ToolChoice("required" if choice == "required" and not searches else "auto")


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


def require_answered_calls(messages: Sequence[Message], param: str) -> None:
    """Refuse a conversation in which a call and its result do not belong together: models cannot read one.

    Args:
        messages: The conversation.
        param: The request field that holds it.

    Raises:
        InvalidRequestError: When a result is of no call just before it, or a call has no result.
    """
    waiting: set[str] = set()
    for message in messages:
        if message.role is Role.TOOL:
            if message.tool_call_id not in waiting:
                raise InvalidRequestError(
                    f"There is a result of the call '{message.tool_call_id}', but no such call before it.",
                    param=param,
                )
            waiting.discard(message.tool_call_id)
            continue
        if waiting:
            break
        waiting = {call.id for call in message.tool_calls}
    if waiting:
        raise InvalidRequestError(
            f"The call '{min(waiting)}' has no result. Give one message with the role 'tool' for each call, right "
            "after the message that asks for them.",
            param=param,
        )
