"""Requests for responses, as the Responses API has them. What this version cannot do is refused by name."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import Field

from undercroft.chat.conversations.models import CONVERSATION_PREFIX
from undercroft.chat.history import require_servers
from undercroft.chat.providers.options import (
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    Effort,
    Options,
    SummaryDetail,
)
from undercroft.chat.questions import Question
from undercroft.chat.responses.errors import PreviousNotFoundError
from undercroft.chat.responses.models import RESPONSE_PREFIX, ResponseRequest
from undercroft.chat.tools.models import RemoteCall
from undercroft.chat.transcript import (
    approved_calls,
    find_answered_twice,
    find_results_without_call,
)
from undercroft.http.openai.conversations import (
    BusyChoice,
    ItemId,
    require_conversation_id,
    require_parent,
)
from undercroft.http.openai.given_files import documents_in
from undercroft.http.openai.inputs import (
    LongText,
    require_answered_calls,
    require_question,
    require_shown,
    require_something_new,
)
from undercroft.http.openai.kept_items import new_item
from undercroft.http.openai.remote_tools import McpTool
from undercroft.http.openai.response_inputs import (
    INCLUDE_LOGPROBS,
    INCLUDE_RESULTS,
    INCLUDE_SEALED,
    Include,
    InputItem,
    MessageItem,
    NamedFunction,
    ResponseFunctionTool,
    ResponseTool,
    ResponseToolChoice,
    TextOptions,
    as_messages,
    as_output,
    render_format,
)
from undercroft.http.openai.tools import FileSearchTool, RequestedTools
from undercroft.http.wire import JsonObject, Metadata, RequestBody
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import parse_id, render_id


class StreamOptions(RequestBody):
    """Options of the stream."""

    include_obfuscation: bool = False


_ConversationId: TypeAlias = Annotated[str, Field(max_length=64)]
_Penalty: TypeAlias = Annotated[float, Field(ge=-2, le=2)]
_ResponseId: TypeAlias = Annotated[str, Field(max_length=64)]


class ConversationReference(RequestBody):
    """A conversation by its id."""

    id: _ConversationId


class ReasoningOptions(RequestBody):
    """How long the model thinks, and what is told of that."""

    effort: Effort | None = None
    summary: SummaryDetail | None = None


class AnswerOptions(RequestBody):
    """How an answer is made, whichever face asks for it."""

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    instructions: LongText | None = None
    tools: Annotated[list[ResponseTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ResponseToolChoice = "auto"
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    metadata: Metadata | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    truncation: Literal["auto", "disabled"] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    parallel_tool_calls: bool | None = None
    background: bool | None = None
    if_busy: BusyChoice | None = None
    if_interrupted: Literal["fail", "restart"] | None = None


class CreateResponse(AnswerOptions):
    """A request for a response. What this version cannot do is refused by name."""

    input: LongText | Annotated[list[InputItem], Field(min_length=1, max_length=1000)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    store: bool | None = True
    include: Include | None = None
    service_tier: Literal["auto", "default"] | None = None
    user: Annotated[str, Field(max_length=64)] | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    previous_response_id: _ResponseId | None = None
    conversation: _ConversationId | ConversationReference | None = None
    parent: ItemId | None = None
    prompt: None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    def as_request(self, default_model: str, *, may_keep: bool) -> ResponseRequest:
        """The request for the service.

        Args:
            default_model: Answers where the request names no model.
            may_keep: Whether the response is kept if it is asked for.

        Raises:
            InvalidRequestError: When nobody asks anything, no tool describes the search that is required, a call and
                its result do not belong together, or what is made in the background is not to be kept.
            NotFoundError: When an id cannot be a vector store's.
        """
        items = self._items()
        messages = as_messages(items)
        previous_id = self._previous_id()
        if previous_id is None and self.conversation is None:
            require_question(messages, "input")
            require_answered_calls(messages, "input")
        else:
            require_something_new(messages, "input")
        tools = self._tools()
        search = tools.as_search()
        files = documents_in(items, "input")
        require_shown(messages, "input", searches=search is not None)
        question = Question(
            messages=messages,
            model=self.model or default_model,
            instructions=self.instructions,
            search=search,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            options=self._options(tools, searches=search is not None),
            keeps_all_turns=self.truncation == "disabled",
            servers=() if self.tool_choice == "none" else tools.servers,
            max_tool_calls=self.max_tool_calls,
            files=files,
        )
        is_kept = may_keep and self.store is not False
        if not is_kept:
            self._check_unkept(question)
        conversation_id = self._conversation_id(is_kept=is_kept)
        if previous_id is None and conversation_id is None:
            question = replace(question, approved=_approved(items))
            require_servers(question.approved, question.servers)
        return ResponseRequest(
            question,
            self._echo(question.model, conversation_id, is_kept=is_kept),
            is_kept,
            INCLUDE_RESULTS in (self.include or ()),
            include_sealed=INCLUDE_SEALED in (self.include or ()),
            is_background=bool(self.background),
            conversation_id=conversation_id,
            previous_id=previous_id,
            if_busy=self.if_busy,
            parent=require_parent(self.parent),
            begins_again=self.if_interrupted == "restart",
            input_items=tuple(map(new_item, items)),
        )

    def _check_unkept(self, question: Question) -> None:
        """Refuse what a response that is not kept cannot have."""
        if question.servers:
            raise InvalidRequestError(
                "Tools elsewhere are called only for responses that are kept, so that it can be told what they were "
                "sent. Leave 'store' out, or the tool servers.",
                param="tools",
            )
        if self.background:
            raise InvalidRequestError(
                "What is made in the background is kept: leave 'store' out, or leave 'background' out.",
                param="background",
            )
        from_documents = question.search is not None or bool(question.files)
        if from_documents and INCLUDE_SEALED in (self.include or ()):
            raise InvalidRequestError(
                "Thoughts about documents are sealed under the key of a response that is kept, so that they go with "
                f"the documents: leave 'store' out, or leave '{INCLUDE_SEALED}' out.",
                param="include",
            )

    def _items(self) -> Sequence[InputItem]:
        """What is asked; a text alone is a message of the user's."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input

    def _tools(self) -> RequestedTools:
        choice, offered = self.tool_choice, self.tools or ()
        is_named = isinstance(choice, NamedFunction)
        return RequestedTools(
            [tool for tool in offered if isinstance(tool, FileSearchTool)],
            tuple(tool.as_tool() for tool in offered if isinstance(tool, ResponseFunctionTool)),
            "required" if is_named else choice,
            choice.name if is_named else None,
            tuple(tool.as_server() for tool in offered if isinstance(tool, McpTool)),
        )

    def _options(self, tools: RequestedTools, *, searches: bool) -> Options:
        thinking = self.reasoning or ReasoningOptions()
        return Options(
            verbosity=self.text.verbosity if self.text else None,
            top_logprobs=self._logprobs(),
            effort=thinking.effort,
            summary=thinking.summary,
            tools=tools.functions,
            tool_choice=tools.as_choice(searches=searches),
            parallel_tool_calls=self.parallel_tool_calls
            if tools.functions or tools.servers
            else None,
            output=as_output(self.text.format if self.text else None),
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
        )

    def _logprobs(self) -> int | None:
        """How many alternatives to show for each token; None where nobody asks how likely tokens were."""
        wants = bool(self.top_logprobs) or INCLUDE_LOGPROBS in (self.include or ())
        return (self.top_logprobs or 0) if wants else None

    def _previous_id(self) -> UUID | None:
        """The response that it goes on from.

        Raises:
            InvalidRequestError: When it goes on with a conversation as well.
            PreviousNotFoundError: When the id cannot be a response's.
        """
        if self.previous_response_id is None:
            return None
        if self.conversation is not None:
            raise InvalidRequestError(
                "A response goes on from another one or with a conversation. Leave one of the two out.",
                param="previous_response_id",
            )
        previous_id = parse_id(RESPONSE_PREFIX, self.previous_response_id)
        if previous_id is None:
            raise PreviousNotFoundError(self.previous_response_id)
        return previous_id

    def _conversation_id(self, *, is_kept: bool) -> UUID | None:
        """The conversation in which it is kept.

        Raises:
            InvalidRequestError: When it cannot be kept in one.
            NotFoundError: When the id cannot be a conversation's.
        """
        given = self.conversation
        if given is None:
            for name in ("if_busy", "parent"):
                if getattr(self, name) is not None:
                    raise InvalidRequestError(
                        "It goes with 'conversation': name one, or leave it out.", param=name
                    )
            return None
        text = given if isinstance(given, str) else given.id
        conversation_id = require_conversation_id(text, "conversation")
        if not is_kept:
            raise InvalidRequestError(
                "What is said in a conversation is kept: leave 'store' out, or leave 'conversation' out.",
                param="conversation",
            )
        return conversation_id

    def _usual_truncation(self) -> str:
        """What is done with what does not fit where nothing is said of it: of earlier turns the oldest are left out."""
        goes_on = self.conversation is not None or self.previous_response_id is not None
        return "auto" if goes_on else "disabled"

    def _text(self) -> JsonObject:
        told: JsonObject = {"format": render_format(self.text.format if self.text else None)}
        if self.text is not None and self.text.verbosity is not None:
            told["verbosity"] = self.text.verbosity
        return told

    def _echo(self, model: str, conversation_id: UUID | None, *, is_kept: bool) -> JsonObject:
        tools = [
            tool.echo()
            if isinstance(tool, McpTool)
            else tool.model_dump(exclude_none=isinstance(tool, FileSearchTool))
            for tool in self.tools or []
        ]
        choice = self.tool_choice
        place = (
            {}
            if conversation_id is None
            else {"conversation": {"id": render_id(CONVERSATION_PREFIX, conversation_id)}}
        )
        return {
            **place,
            "model": model,
            "instructions": self.instructions,
            "tools": tools,
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
            "metadata": self.metadata or {},
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "presence_penalty": self.presence_penalty or 0.0,
            "frequency_penalty": self.frequency_penalty or 0.0,
            "top_logprobs": self.top_logprobs or 0,
            "truncation": self.truncation or self._usual_truncation(),
            "text": self._text(),
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "reasoning": self.reasoning and self.reasoning.model_dump(),
            "store": is_kept,
            "background": bool(self.background),
            "service_tier": "default",
            "previous_response_id": self.previous_response_id,
            "safety_identifier": self.safety_identifier,
            "prompt_cache_key": self.prompt_cache_key,
        }


def _approved(items: Sequence[InputItem]) -> tuple[RemoteCall, ...]:
    """The calls that are approved of those that are passed back."""
    wire = [item.model_dump() for item in items]
    for call_id in find_results_without_call(wire):
        raise InvalidRequestError(
            f"There is a result of the call '{call_id}', but no such call before it.", param="input"
        )
    for request_id in find_answered_twice(wire):
        raise InvalidRequestError(
            f"The request for approval '{request_id}' is answered twice.", param="input"
        )
    return tuple(approved_calls(wire))
