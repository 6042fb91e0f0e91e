"""Answers that are to be JSON, from models that are told so in words: they are held to it at the end."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, NoReturn, cast

from undercroft.chat.providers.options import JsonOutput
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Message,
    Role,
    TextDelta,
)
from undercroft.chat.providers.upstream_errors import UpstreamError
from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.schemas.errors import (
    CheckTooCostlyError,
    InvalidSchemaError,
    SchemaMismatchError,
)
from undercroft.vault.schemas.validation import SchemaValidator

_INSTRUCTION: Final = "Answer with one JSON object and nothing else: no words around it, no fence."


def formed(
    request: GenerationRequest,
    generate: Callable[[GenerationRequest], AsyncGenerator[GenerationEvent, None]],
) -> AsyncGenerator[GenerationEvent, None]:
    """What is generated for a request: of one for JSON with a prompt that says so, and held to it.

    An answer's end is held back until it is seen to have the form. One that was cut off, filtered or is a call is not
    looked at: its reason says that it is not whole.

    Args:
        request: What is asked, of a model that knows nothing of forms.
        generate: Asks it.

    Raises:
        InvalidRequestError: The schema is none, or could cost too much to check.
        UpstreamError: The answer has not the form.
    """
    output = request.options.output
    if output is None:
        return generate(request)
    told = replace(request, messages=_instructed(request.messages, output))
    return _held_to(output, generate(told))


def _instructed(messages: Sequence[Message], output: JsonOutput) -> tuple[Message, ...]:
    """The prompt, with a first message that says what form the answer is to have."""
    lines = [_INSTRUCTION]
    if output.description:
        lines.append(output.description)
    if output.schema is not None:
        schema = json.dumps(output.schema, ensure_ascii=False)
        lines.append(f"It must satisfy this JSON Schema: {schema}")
    return (Message(Role.SYSTEM, "\n".join(lines)), *messages)


async def _held_to(
    output: JsonOutput, generated: AsyncGenerator[GenerationEvent, None]
) -> AsyncGenerator[GenerationEvent, None]:
    async with aclosing(generated) as events:
        validator = await asyncio.to_thread(_validator, output)
        text: list[str] = []
        async for event in events:
            if isinstance(event, TextDelta):
                text.append(event.text)
            if isinstance(event, Finished) and event.reason is FinishReason.STOP:
                await asyncio.to_thread(_check, "".join(text), validator)
            yield event


def _validator(output: JsonOutput) -> SchemaValidator | None:
    if output.schema is None:
        return None
    try:
        return SchemaValidator(output.schema)
    except InvalidSchemaError as error:
        raise InvalidRequestError(error.message, param="response_format") from error


def _check(text: str, validator: SchemaValidator | None) -> None:
    try:
        value: object = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise _not_the_form("is no JSON") from error
    if not isinstance(value, dict):
        raise _not_the_form("is no JSON object")
    if validator is None:
        return
    try:
        validator.check(cast("dict[str, Any]", value))
    except (SchemaMismatchError, CheckTooCostlyError) as error:
        raise _not_the_form("does not satisfy the schema") from error


def _no_json(name: str) -> NoReturn:
    raise ValueError(name)


def _not_the_form(how: str) -> UpstreamError:
    return UpstreamError(
        f"The model's answer {how}. Ask again, or choose a model whose server makes it keep to the form.",
        code="model_output_invalid",
    )
