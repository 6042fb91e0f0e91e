"""The messages, tools and formats of chat completions, as requests have them."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from undercroft.chat.providers.options import JsonOutput, ToolMode
from undercroft.chat.providers.protocol import Message, ToolCall
from undercroft.http.openai.inputs import (
    CallId,
    Content,
    Description,
    FunctionName,
    JsonFormat,
    LongText,
    TextFormat,
    as_role,
    joined,
)
from undercroft.http.openai.tools import FileSearchTool, FunctionDefinition, NamedTool
from undercroft.http.wire import JsonObject, RequestBody


class CalledFunction(RequestBody):
    """What was called, with what."""

    name: FunctionName
    arguments: LongText
    parsed_arguments: JsonObject | None = None


class ChatToolCall(RequestBody):
    """A call that an earlier answer asked for."""

    id: CallId
    type: Literal["function"]
    function: CalledFunction
    index: int | None = None


class ChatMessage(RequestBody):
    """One message of the conversation; an answer's may be passed back as it was given."""

    role: Literal["user", "assistant", "system", "developer", "tool"]
    content: Content | None = None
    name: Annotated[str, Field(max_length=64)] | None = None
    tool_calls: Annotated[list[ChatToolCall], Field(max_length=128)] | None = None
    tool_call_id: CallId | None = None
    annotations: list[JsonObject] | None = None
    refusal: None = None
    function_call: None = None
    audio: None = None
    parsed: JsonObject | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """Each role has its own fields."""
        if self.tool_calls and self.role != "assistant":
            raise PydanticCustomError(
                "tool_calls", "has 'tool_calls', which only an assistant's has"
            )
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise PydanticCustomError(
                "tool_call_id", "should have 'tool_call_id' if its role is 'tool', and only then"
            )
        if self.content is None and not self.tool_calls:
            raise PydanticCustomError("content", "has no 'content'")
        return self

    def as_message(self) -> Message:
        """The message as models take it."""
        calls = tuple(
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in self.tool_calls or ()
        )
        return Message(as_role(self.role), joined(self.content), calls, self.tool_call_id)


class ChatFunctionTool(RequestBody):
    """Offers a function to the model. The client makes the calls that the answer asks for."""

    type: Literal["function"]
    function: FunctionDefinition


ChatTool: TypeAlias = Annotated[FileSearchTool | ChatFunctionTool, Field(discriminator="type")]


class FunctionReference(RequestBody):
    """A function by its name."""

    name: FunctionName


class ChatNamedFunction(RequestBody):
    """Requires a call of one function."""

    type: Literal["function"]
    function: FunctionReference


ChatToolChoice: TypeAlias = (
    ToolMode | Annotated[NamedTool | ChatNamedFunction, Field(discriminator="type")]
)


class NamedSchema(RequestBody):
    """A JSON Schema, and what it is called."""

    name: FunctionName
    description: Description | None = None
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: bool | None = None


class ChatSchemaFormat(RequestBody):
    """A JSON object that satisfies a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ChatFormat: TypeAlias = TextFormat | JsonFormat | ChatSchemaFormat


def as_output(form: ChatFormat | None) -> JsonOutput | None:
    """The format as models take it; None for text."""
    match form:
        case JsonFormat():
            return JsonOutput()
        case ChatSchemaFormat(json_schema=named):
            schema = {"type": "object"} if named.schema_ is None else named.schema_
            return JsonOutput(schema, named.name, named.description, named.strict)
        case _:
            return None
