"""The messages, tools and formats of chat completions, as requests have them."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from undercroft.chat.providers.images import Detail
from undercroft.chat.providers.options import JsonOutput, ToolMode
from undercroft.chat.providers.protocol import Message, ToolCall
from undercroft.http.openai.attachments import (
    NO_FILE,
    ONLY_A_USERS,
    FileData,
    Filename,
    FilePart,
    FileReference,
    ImagePart,
    PictureUrl,
)
from undercroft.http.openai.inputs import (
    CallId,
    Description,
    FunctionName,
    JsonFormat,
    LongText,
    TextFormat,
    TextPart,
    as_role,
)
from undercroft.http.openai.response_inputs import MessageItem
from undercroft.http.openai.tools import FileSearchTool, FunctionDefinition, NamedTool
from undercroft.http.wire import JsonObject, RequestBody


class ChatImage(RequestBody):
    """A picture, as a data URL."""

    url: PictureUrl
    detail: Detail = "auto"


class ChatImagePart(RequestBody):
    """A picture for models that take them."""

    type: Literal["image_url"]
    image_url: ChatImage

    def as_part(self) -> ImagePart:
        """It, as a response's message has it."""
        # It was looked at when it was read.
        return ImagePart.model_construct(
            type="input_image", image_url=self.image_url.url, detail=self.image_url.detail
        )


class ChatFile(RequestBody):
    """A file: its content in base64, or the id of a document of the vault."""

    file_data: FileData | None = None
    file_id: FileReference | None = None
    filename: Filename | None = None

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if (self.file_data is None) == (self.file_id is None):
            raise PydanticCustomError("no_file", NO_FILE)
        return self


class ChatFilePart(RequestBody):
    """A file whose text the model is shown."""

    type: Literal["file"]
    file: ChatFile

    def as_part(self) -> FilePart:
        """It, as a response's message has it."""
        return FilePart.model_construct(type="input_file", **self.file.model_dump())


ChatContent: TypeAlias = (
    LongText
    | Annotated[
        list[Annotated[TextPart | ChatImagePart | ChatFilePart, Field(discriminator="type")]],
        Field(max_length=100),
    ]
)


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
    content: ChatContent | None = None
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
        if self.role != "user" and not all(isinstance(part, TextPart) for part in self._parts()):
            raise PydanticCustomError("not_a_users", ONLY_A_USERS)
        return self

    def as_item(self) -> MessageItem | None:
        """What a user says and shows, as a response's message has it; None for what is somebody else's."""
        if self.role != "user":
            return None
        parts = [part if isinstance(part, TextPart) else part.as_part() for part in self._parts()]
        return MessageItem.model_construct(role="user", content=parts)

    def as_message(self) -> Message:
        """What somebody else than a user says, as models take it."""
        calls = tuple(
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in self.tool_calls or ()
        )
        said = "".join(part.text for part in self._parts() if isinstance(part, TextPart))
        return Message(as_role(self.role), said, calls, self.tool_call_id)

    def _parts(self) -> Sequence[TextPart | ChatImagePart | ChatFilePart]:
        if isinstance(self.content, str):
            return (TextPart(type="text", text=self.content),)
        return self.content or ()


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
