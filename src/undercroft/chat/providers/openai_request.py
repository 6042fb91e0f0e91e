"""What goes over the wire to an OpenAI-compatible server. Pure."""

from typing import Any

from undercroft.chat.providers.images import in_their_places
from undercroft.chat.providers.options import FunctionTool, JsonOutput, Options, ToolChoice
from undercroft.chat.providers.protocol import GenerationRequest, Message, Role
from undercroft.chat.providers.wire import estimated_tokens, given


def request_body(request: GenerationRequest, token_limit_field: str) -> dict[str, Any]:
    """The JSON body of ``POST /chat/completions``."""
    messages = [_message(message) for message in request.messages]
    if request.prefix:
        messages.append({"role": "assistant", "content": request.prefix})
    return given(
        {
            "model": request.model,
            "messages": messages,
            "continue_final_message": True if request.prefix else None,
            "add_generation_prompt": False if request.prefix else None,
            "stream": True,
            "stream_options": {"include_usage": True},
            token_limit_field: _limit_left(request),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": list(request.stop) or None,
            **_options(request.options),
        }
    )


def _limit_left(request: GenerationRequest) -> int | None:
    """How many tokens may follow the prefix: how many it took is the server's to know, and reckoned here."""
    if request.max_output_tokens is None or not request.prefix:
        return request.max_output_tokens
    return max(1, request.max_output_tokens - estimated_tokens(len(request.prefix)))


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role.value, "content": _content(message)}
    if message.role is Role.TOOL:
        wire["tool_call_id"] = message.tool_call_id
    for thought in message.reasoning:
        for name, text in thought.content.items():
            wire[name] = wire.get(name, "") + text
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return wire


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content
    return [
        {"type": "text", "text": piece}
        if isinstance(piece, str)
        else {"type": "image_url", "image_url": {"url": piece.url, "detail": piece.detail}}
        for piece in in_their_places(message.content, message.images)
    ]


def _options(options: Options) -> dict[str, Any]:
    tools = [{"type": "function", "function": _function(tool)} for tool in options.tools]
    return {
        "tools": tools or None,
        "tool_choice": _tool_choice(options.tool_choice) if tools else None,
        "parallel_tool_calls": options.parallel_tool_calls if tools else None,
        "response_format": None if options.output is None else _response_format(options.output),
        "seed": options.seed,
        "frequency_penalty": options.frequency_penalty,
        "presence_penalty": options.presence_penalty,
        "logit_bias": None if options.logit_bias is None else dict(options.logit_bias),
        "logprobs": True if options.top_logprobs is not None else None,
        "top_logprobs": options.top_logprobs or None,
        "verbosity": options.verbosity,
        "reasoning_effort": options.effort,
    }


def _function(tool: FunctionTool) -> dict[str, Any]:
    return given(
        {
            "name": tool.name,
            "description": tool.description,
            "parameters": None if tool.parameters is None else dict(tool.parameters),
            "strict": tool.is_strict,
        }
    )


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any] | None:
    if choice.function is not None:
        return {"type": "function", "function": {"name": choice.function}}
    return None if choice.mode == "auto" else choice.mode


def _response_format(output: JsonOutput) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    schema = given(
        {
            "name": output.name,
            "description": output.description,
            "schema": dict(output.schema),
            "strict": output.is_strict,
        }
    )
    return {"type": "json_schema", "json_schema": schema}
