"""The items, tools and formats of responses, as requests have them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final, Literal, Self, TypeAlias, cast

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from undercroft.chat.given_files import as_told
from undercroft.chat.providers.options import JsonOutput, ToolMode, Verbosity
from undercroft.chat.providers.protocol import Message, Role, ToolCall
from undercroft.http.openai.attachments import ONLY_A_USERS, FilePart, MessageContent
from undercroft.http.openai.inputs import (
    CallId,
    Content,
    Description,
    FunctionName,
    JsonFormat,
    LongText,
    TextFormat,
    TextPart,
    as_role,
    joined,
)
from undercroft.http.openai.remote_tools import (
    McpApprovalRequestItem,
    McpApprovalResponseItem,
    McpCallItem,
    McpListToolsItem,
    McpTool,
)
from undercroft.http.openai.tools import FileSearchTool, FunctionDefinition, NamedTool
from undercroft.http.wire import JsonObject, RequestBody

INCLUDE_RESULTS: Final = "file_search_call.results"
INCLUDE_LOGPROBS: Final = "message.output_text.logprobs"
INCLUDE_SEALED: Final = "reasoning.encrypted_content"
Include: TypeAlias = list[
    Literal[
        "file_search_call.results", "message.output_text.logprobs", "reasoning.encrypted_content"
    ]
]
"""What is shown beside the rest."""


class MessageItem(RequestBody):
    """One message of the conversation so far."""

    role: Literal["user", "assistant", "system", "developer"]
    content: MessageContent
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None
    phase: str | None = None

    @model_validator(mode="after")
    def _shows_only_what_a_user_has(self) -> Self:
        if self.role == "user" or isinstance(self.content, str):
            return self
        if not all(isinstance(part, TextPart) for part in self.content):
            raise PydanticCustomError("not_a_users", ONLY_A_USERS)
        return self

    def as_message(self) -> Message:
        """The message as models take it."""
        if isinstance(self.content, str):
            return Message(as_role(self.role), self.content)
        return as_told(as_role(self.role), [part.model_dump() for part in self.content])

    def files(self) -> tuple[FilePart, ...]:
        """The files that it shows."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, FilePart))

    def with_files(self, files: Iterable[FilePart]) -> "MessageItem":
        """It, with others in the places of its files."""
        if isinstance(self.content, str):
            return self
        others = iter(files)
        content = [next(others) if isinstance(part, FilePart) else part for part in self.content]
        return self.model_copy(update={"content": content})


class FileSearchCallItem(RequestBody):
    """The search of an earlier answer, passed back with it. The service searches anew."""

    type: Literal["file_search_call"]
    id: str | None = None
    status: str | None = None
    queries: list[str] = Field(default_factory=list)
    results: list[JsonObject] | None = None


class FunctionCallItem(RequestBody):
    """A call that an earlier answer asked for."""

    type: Literal["function_call"]
    id: str | None = None
    status: str | None = None
    call_id: CallId
    name: FunctionName
    arguments: LongText
    parsed_arguments: JsonObject | None = None

    def as_call(self) -> ToolCall:
        """The call as models take it."""
        return ToolCall(self.call_id, self.name, self.arguments)


class FunctionOutputItem(RequestBody):
    """What a call came to."""

    type: Literal["function_call_output"]
    id: str | None = None
    status: str | None = None
    call_id: CallId
    output: Content


class ReasoningText(RequestBody):
    """A part of a thought, as it was told."""

    type: Literal["summary_text", "reasoning_text"]
    text: LongText


_Thoughts: TypeAlias = Annotated[list[ReasoningText], Field(max_length=100)]


class ReasoningItem(RequestBody):
    """What a model thought, passed back with what it said then. Only what is sealed of it is given to the model."""

    type: Literal["reasoning"]
    id: str | None = None
    status: str | None = None
    summary: _Thoughts
    content: _Thoughts | None = None
    encrypted_content: LongText | None = None

    def sealed(self) -> tuple[str, ...]:
        """What the model gets of it."""
        return () if self.encrypted_content is None else (self.encrypted_content,)


class CompactionItem(RequestBody):
    """What was said before, as `POST /v1/responses/compact` has made one of it."""

    type: Literal["compaction"]
    id: str | None = None
    status: str | None = None
    encrypted_content: LongText

    def as_message(self) -> Message:
        """Where its summary is going to stand."""
        return Message(Role.USER, "", sealed=(self.encrypted_content,))


_ITEMS = {
    "compaction": CompactionItem.__name__,
    "reasoning": ReasoningItem.__name__,
    "mcp_approval_request": McpApprovalRequestItem.__name__,
    "mcp_approval_response": McpApprovalResponseItem.__name__,
    "mcp_call": McpCallItem.__name__,
    "mcp_list_tools": McpListToolsItem.__name__,
    "message": MessageItem.__name__,
    "file_search_call": FileSearchCallItem.__name__,
    "function_call": FunctionCallItem.__name__,
    "function_call_output": FunctionOutputItem.__name__,
}


def _item_tag(item: object) -> str | None:
    if not isinstance(item, Mapping):
        return MessageItem.__name__
    kind = cast("Mapping[str, object]", item).get("type", "message")
    return _ITEMS.get(kind) if isinstance(kind, str) else None


InputItem: TypeAlias = Annotated[
    Annotated[MessageItem, Tag(MessageItem.__name__)]
    | Annotated[FileSearchCallItem, Tag(FileSearchCallItem.__name__)]
    | Annotated[FunctionCallItem, Tag(FunctionCallItem.__name__)]
    | Annotated[FunctionOutputItem, Tag(FunctionOutputItem.__name__)]
    | Annotated[ReasoningItem, Tag(ReasoningItem.__name__)]
    | Annotated[CompactionItem, Tag(CompactionItem.__name__)]
    | Annotated[McpApprovalRequestItem, Tag(McpApprovalRequestItem.__name__)]
    | Annotated[McpApprovalResponseItem, Tag(McpApprovalResponseItem.__name__)]
    | Annotated[McpCallItem, Tag(McpCallItem.__name__)]
    | Annotated[McpListToolsItem, Tag(McpListToolsItem.__name__)],
    Discriminator(
        _item_tag,
        custom_error_type="unknown_item",
        custom_error_message="An item should be a whole message, file_search_call, function_call, "
        "function_call_output, reasoning, compaction, mcp_list_tools, mcp_call, mcp_approval_request or "
        "mcp_approval_response; other items, and references to items, are not supported yet",
    ),
]


def as_messages(items: Sequence[InputItem]) -> tuple[Message, ...]:
    """The conversation, oldest turn first. Calls belong to the assistant's message just before them.

    Thoughts belong to what the assistant says right after them.
    """
    messages: list[Message] = []
    thoughts: tuple[str, ...] = ()
    for item in items:
        match item:
            case ReasoningItem():
                thoughts += item.sealed()
            case MessageItem():
                sealed = thoughts if item.role == "assistant" else ()
                messages.append(replace(item.as_message(), sealed=sealed))
                thoughts = ()
            case FunctionOutputItem(call_id=call_id, output=output):
                messages.append(Message(Role.TOOL, joined(output), tool_call_id=call_id))
            case McpApprovalResponseItem() | CompactionItem():
                messages.append(item.as_message())
            case McpCallItem():
                messages += item.as_messages()
            case FunctionCallItem() | McpApprovalRequestItem():
                _add_call(messages, item.as_call(), thoughts)
                thoughts = ()
            case FileSearchCallItem() | McpListToolsItem():
                pass
    return tuple(messages)


def _add_call(messages: list[Message], call: ToolCall, thoughts: tuple[str, ...]) -> None:
    if thoughts or not messages or messages[-1].role is not Role.ASSISTANT:
        messages.append(Message(Role.ASSISTANT, "", sealed=thoughts))
    last = messages[-1]
    messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))


class ResponseFunctionTool(FunctionDefinition):
    """Offers a function to the model. The client makes the calls that the answer asks for."""

    type: Literal["function"]


ResponseTool: TypeAlias = Annotated[
    FileSearchTool | ResponseFunctionTool | McpTool, Field(discriminator="type")
]


class NamedFunction(RequestBody):
    """Requires a call of one function."""

    type: Literal["function"]
    name: FunctionName


ResponseToolChoice: TypeAlias = (
    ToolMode | Annotated[NamedTool | NamedFunction, Field(discriminator="type")]
)


class JsonSchemaFormat(RequestBody):
    """A JSON object that satisfies a schema."""

    type: Literal["json_schema"]
    name: FunctionName
    description: Description | None = None
    schema_: Annotated[JsonObject, Field(alias="schema")]
    strict: bool | None = None


ResponseFormat: TypeAlias = TextFormat | JsonFormat | JsonSchemaFormat


class TextOptions(RequestBody):
    """How the answer is formed."""

    format: Annotated[ResponseFormat, Field(discriminator="type")] | None = None
    verbosity: Verbosity | None = None


def as_output(form: ResponseFormat | None) -> JsonOutput | None:
    """The format as models take it; None for text."""
    match form:
        case JsonFormat():
            return JsonOutput()
        case JsonSchemaFormat():
            return JsonOutput(form.schema_, form.name, form.description, form.strict)
        case _:
            return None


def render_format(form: ResponseFormat | None) -> JsonObject:
    """The format as a response repeats it, without the schema: the specification has null there."""
    match form:
        case JsonFormat():
            return {"type": "json_object"}
        case JsonSchemaFormat():
            return {
                "type": "json_schema",
                "name": form.name,
                "description": form.description,
                "schema": None,
                "strict": bool(form.strict),
            }
        case _:
            return {"type": "text"}
