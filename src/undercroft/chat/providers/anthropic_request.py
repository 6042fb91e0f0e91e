"""What goes over the wire to Anthropic's Messages API. Pure."""

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Final, cast

from undercroft.chat.providers.images import Image, in_their_places
from undercroft.chat.providers.options import FunctionTool, Options
from undercroft.chat.providers.protocol import GenerationRequest, Message, Role
from undercroft.chat.providers.wire import given
from undercroft.kit.errors import InvalidRequestError

DEFAULT_OUTPUT_TOKENS: Final = 4096
"""The API wants a limit; this is what the request gets that has none."""

_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def request_body(request: GenerationRequest) -> dict[str, Any]:
    """The JSON body of ``POST /messages``.

    Raises:
        InvalidRequestError: The API cannot be asked this.
    """
    if request.temperature is not None and request.temperature > 1:
        raise InvalidRequestError(
            f"The model '{request.model}' takes temperatures up to 1.", param="temperature"
        )
    system = [m.content for m in request.messages if m.role is Role.SYSTEM and m.content]
    return given(
        {
            "model": request.model,
            "max_tokens": request.max_output_tokens or DEFAULT_OUTPUT_TOKENS,
            "messages": _messages(request.messages),
            "stream": True,
            "system": "\n\n".join(system) or None,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop_sequences": list(request.stop) or None,
            **_thinking(request.options),
            **_tools(request.options),
        }
    )


def _thinking(options: Options) -> dict[str, Any]:
    """How long the model is to think: without a word of it, it does not, or as it decides itself.

    Models of before this way of asking refuse it, and their reason is passed on.
    """
    if options.summary not in {None, "auto"}:
        raise InvalidRequestError(
            "This model's server decides itself how much it tells of the model's thoughts: 'auto' is all there is.",
            param="reasoning.summary",
        )
    if options.effort == "none" or (options.effort is None and options.summary is None):
        return {}
    shows = {} if options.summary is None else {"display": "summarized"}
    effort = {"minimal": "low"}.get(options.effort or "", options.effort)
    return given(
        {
            "thinking": {"type": "adaptive", **shows},
            "output_config": None if effort is None else {"effort": effort},
        }
    )


def _messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The turns: results of calls are the user's, and belong into one turn. A turn without content is none."""
    spoken = [message for message in messages if message.role is not Role.SYSTEM]
    turns = [
        {"role": role, "content": [block for message in turn for block in _blocks(message)]}
        for role, turn in groupby(spoken, key=_speaker)
    ]
    return [turn for turn in turns if turn["content"]]


def _speaker(message: Message) -> str:
    return "assistant" if message.role is Role.ASSISTANT else "user"


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id}
        return [{**result, "content": message.content}]
    thoughts = [dict(thought.content) for thought in message.reasoning]
    said = [
        _image(piece) if isinstance(piece, Image) else {"type": "text", "text": piece}
        for piece in in_their_places(message.content, message.images)
        if isinstance(piece, Image) or piece.strip()
    ]
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)}
        for call in message.tool_calls
    ]
    return [*thoughts, *said, *calls]


def _image(image: Image) -> dict[str, Any]:
    """The API has no word for how closely to look."""
    source = {"type": "base64", "media_type": image.media_type, "data": image.data}
    return {"type": "image", "source": source}


def _input(arguments: str) -> dict[str, Any]:
    try:
        value: object = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequestError(
            "The arguments of a tool call are no JSON object, which this model's server does not take.",
            param="input",
        )
    return cast("dict[str, Any]", value)


def _tools(options: Options) -> dict[str, Any]:
    if not options.tools:
        return {}
    return {"tools": list(map(_definition, options.tools)), "tool_choice": _choice(options)}


def _definition(tool: FunctionTool) -> dict[str, Any]:
    return given(
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": dict(_NO_PARAMETERS if tool.parameters is None else tool.parameters),
            "strict": tool.is_strict or None,
        }
    )


def _choice(options: Options) -> dict[str, Any]:
    choice = options.tool_choice
    if choice.mode == "none":
        return {"type": "none"}
    wire: dict[str, Any] = {"type": "auto" if choice.mode == "auto" else "any"}
    if choice.function is not None:
        wire = {"type": "tool", "name": choice.function}
    if options.parallel_tool_calls is False:
        wire["disable_parallel_tool_use"] = True
    return wire
