"""What the Open Responses specification says that a response and its events are, and what of OpenAI's is beside it.

Written down from the specification: names, types, and which have to be there. Members that it does not name may be.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NotRequired, cast

from pydantic import Field, TypeAdapter, ValidationError, create_model
from typing_extensions import TypedDict

State = Literal["in_progress", "completed", "incomplete"]
Choice = Literal["none", "auto", "required"]


class TopLogProb(TypedDict):
    token: str
    logprob: float
    bytes: list[int]


class LogProb(TopLogProb):
    top_logprobs: list[TopLogProb]


class UrlCitation(TypedDict):
    type: Literal["url_citation"]
    url: str
    start_index: int
    end_index: int
    title: str


class FileCitation(TypedDict):
    """OpenAI's."""

    type: Literal["file_citation"]
    file_id: str
    filename: str
    index: int


Annotation = UrlCitation | FileCitation


class Text(TypedDict):
    type: Literal["input_text", "text", "summary_text", "reasoning_text"]
    text: str


class OutputText(TypedDict):
    type: Literal["output_text"]
    text: str
    annotations: list[Annotation]
    logprobs: list[LogProb]


class Refusal(TypedDict):
    type: Literal["refusal"]
    refusal: str


class InputImage(TypedDict):
    type: Literal["input_image"]
    image_url: str | None
    detail: Literal["low", "high", "auto"]


class InputFile(TypedDict):
    type: Literal["input_file"]
    filename: NotRequired[str]
    file_url: NotRequired[str]


Part = Text | OutputText | Refusal | InputImage | InputFile


class Message(TypedDict):
    type: Literal["message"]
    id: str
    status: State
    role: Literal["user", "assistant", "system", "developer"]
    content: list[Part]


class FunctionCall(TypedDict):
    type: Literal["function_call"]
    id: str
    call_id: str
    name: str
    arguments: str
    status: State


class FunctionCallOutput(TypedDict):
    type: Literal["function_call_output"]
    id: str
    call_id: str
    output: str | list[Part]
    status: State


class ReasoningItem(TypedDict):
    type: Literal["reasoning"]
    id: str
    summary: list[Part]
    content: NotRequired[list[Part]]
    encrypted_content: NotRequired[str]


class FileSearchResult(TypedDict):
    file_id: str
    filename: str
    score: float
    text: str
    attributes: dict[str, str | float | bool]


class FileSearchCall(TypedDict):
    """OpenAI's."""

    type: Literal["file_search_call"]
    id: str
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"]
    queries: list[str]
    results: list[FileSearchResult] | None


class McpTool(TypedDict):
    name: str
    description: str | None
    input_schema: dict[str, Any]
    annotations: dict[str, Any] | None


class McpListTools(TypedDict):
    """OpenAI's."""

    type: Literal["mcp_list_tools"]
    id: str
    server_label: str
    tools: list[McpTool]
    error: str | None


class McpCall(TypedDict):
    """OpenAI's."""

    type: Literal["mcp_call"]
    id: str
    approval_request_id: str | None
    server_label: str
    name: str
    arguments: str
    output: str | None
    error: dict[str, Any] | None
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"]


class McpApprovalRequest(TypedDict):
    """OpenAI's."""

    type: Literal["mcp_approval_request"]
    id: str
    server_label: str
    name: str
    arguments: str


Item = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | ReasoningItem
    | FileSearchCall
    | McpListTools
    | McpCall
    | McpApprovalRequest
)


class FunctionTool(TypedDict):
    type: Literal["function"]
    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class FileSearchTool(TypedDict):
    """OpenAI's."""

    type: Literal["file_search"]
    vector_store_ids: list[str]


class RemoteTools(TypedDict):
    """OpenAI's."""

    type: Literal["mcp"]
    server_label: str
    server_url: str
    headers: None


class NamedTool(TypedDict):
    type: Literal["function", "file_search"]
    name: NotRequired[str]


class AllowedTools(TypedDict):
    type: Literal["allowed_tools"]
    tools: list[NamedTool]
    mode: Choice


class PlainFormat(TypedDict):
    type: Literal["text", "json_object"]


class SchemaFormat(TypedDict):
    type: Literal["json_schema"]
    name: str
    description: str | None
    schema: None
    strict: bool


class TextOptions(TypedDict):
    format: PlainFormat | SchemaFormat
    verbosity: NotRequired[Literal["low", "medium", "high"]]


class Reasoning(TypedDict):
    effort: Literal["none", "low", "medium", "high", "xhigh"] | None
    summary: Literal["concise", "detailed", "auto"] | None


class CachedTokens(TypedDict):
    cached_tokens: int


class ReasoningTokens(TypedDict):
    reasoning_tokens: int


class Usage(TypedDict):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: CachedTokens
    output_tokens_details: ReasoningTokens


class Incomplete(TypedDict):
    reason: str


class Failure(TypedDict):
    code: str
    message: str


class Response(TypedDict):
    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    incomplete_details: Incomplete | None
    model: str
    previous_response_id: str | None
    instructions: str | None
    output: list[Item]
    error: Failure | None
    tools: list[FunctionTool | FileSearchTool | RemoteTools]
    tool_choice: Choice | AllowedTools | NamedTool
    truncation: Literal["auto", "disabled"]
    parallel_tool_calls: bool
    text: TextOptions
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    temperature: float
    reasoning: Reasoning | None
    usage: Usage | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    store: bool
    background: bool
    service_tier: str
    metadata: dict[str, str]
    safety_identifier: str | None
    prompt_cache_key: str | None


class ErrorPayload(TypedDict):
    type: str
    code: str | None
    message: str
    param: str | None
    headers: NotRequired[dict[str, str]]


_RESPONSE: Final[dict[str, Any]] = {"response": Response}
_ITEM: Final[dict[str, Any]] = {"output_index": int, "item": Item | None}
_OF_ITEM: Final[dict[str, Any]] = {"item_id": str, "output_index": int}
_OF_PART: Final[dict[str, Any]] = {**_OF_ITEM, "content_index": int}
_OF_SUMMARY: Final[dict[str, Any]] = {**_OF_ITEM, "summary_index": int}

FIELDS: Final[dict[str, dict[str, Any]]] = {
    "response.created": _RESPONSE,
    "response.queued": _RESPONSE,
    "response.in_progress": _RESPONSE,
    "response.completed": _RESPONSE,
    "response.failed": _RESPONSE,
    "response.incomplete": _RESPONSE,
    "response.output_item.added": _ITEM,
    "response.output_item.done": _ITEM,
    "response.content_part.added": {**_OF_PART, "part": Part},
    "response.content_part.done": {**_OF_PART, "part": Part},
    "response.output_text.delta": {**_OF_PART, "delta": str, "logprobs": list[LogProb]},
    "response.output_text.done": {**_OF_PART, "text": str, "logprobs": list[LogProb]},
    "response.output_text.annotation.added": {
        **_OF_PART,
        "annotation_index": int,
        "annotation": Annotation | None,
    },
    "response.refusal.delta": {**_OF_PART, "delta": str},
    "response.refusal.done": {**_OF_PART, "refusal": str},
    "response.reasoning.delta": {**_OF_PART, "delta": str},
    "response.reasoning.done": {**_OF_PART, "text": str},
    "response.reasoning_summary_part.added": {**_OF_SUMMARY, "part": Part},
    "response.reasoning_summary_part.done": {**_OF_SUMMARY, "part": Part},
    "response.reasoning_summary_text.delta": {**_OF_SUMMARY, "delta": str},
    "response.reasoning_summary_text.done": {**_OF_SUMMARY, "text": str},
    "response.function_call_arguments.delta": {**_OF_ITEM, "delta": str},
    "response.function_call_arguments.done": {**_OF_ITEM, "arguments": str},
    "error": {"error": ErrorPayload},
    # OpenAI's.
    "response.file_search_call.in_progress": _OF_ITEM,
    "response.file_search_call.searching": _OF_ITEM,
    "response.file_search_call.completed": _OF_ITEM,
    "response.mcp_list_tools.in_progress": _OF_ITEM,
    "response.mcp_list_tools.completed": _OF_ITEM,
    "response.mcp_list_tools.failed": _OF_ITEM,
    "response.mcp_call.in_progress": _OF_ITEM,
    "response.mcp_call.completed": _OF_ITEM,
    "response.mcp_call.failed": _OF_ITEM,
    "response.mcp_call_arguments.delta": {**_OF_ITEM, "delta": str},
    "response.mcp_call_arguments.done": {**_OF_ITEM, "arguments": str},
}
"""What each event has beside ``type`` and ``sequence_number``."""


def _adapter(fields: Mapping[str, Any]) -> TypeAdapter[Any]:
    given: dict[str, Any] = {name: (kind, ...) for name, kind in fields.items()}
    return TypeAdapter(create_model("Event", sequence_number=(int, Field(ge=0)), **given))


_RESPONSES: Final[TypeAdapter[Any]] = TypeAdapter(Response)
_EVENTS: Final = {name: _adapter(fields) for name, fields in FIELDS.items()}


def find_faults(sent: object) -> list[str]:
    """What is wrong with a response or an event; nothing, where it is neither."""
    if not isinstance(sent, dict):
        return []
    thing = cast("dict[str, object]", sent)
    if thing.get("object") == "response" and "deleted" not in thing:
        return _faults_by(_RESPONSES, thing, "response")
    # An error that is no event of a response has none.
    if "type" not in thing or "sequence_number" not in thing:
        return []
    name = str(thing["type"])
    if name not in _EVENTS:
        return [f"there is no event {name}"]
    return _faults_by(_EVENTS[name], thing, name)


def find_faults_in(lines: Iterable[str]) -> list[str]:
    """The same of each event of a stream."""
    return [
        fault
        for line in lines
        if line.startswith("data: {")
        for fault in find_faults(json.loads(line.removeprefix("data: ")))
    ]


def _faults_by(adapter: TypeAdapter[Any], thing: object, name: str) -> list[str]:
    try:
        adapter.validate_python(thing, strict=True)
    except ValidationError as error:
        return [f"{name}: {fault['loc']} {fault['msg']}" for fault in error.errors()]
    return []
