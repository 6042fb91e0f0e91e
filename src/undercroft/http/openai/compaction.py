"""What was said so far, made smaller: `POST /v1/responses/compact`, as OpenAI has it."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from undercroft.chat.responses.compacting import INSTRUCTION
from undercroft.http.callers import KnownResponseWriter
from undercroft.http.deps import AuthenticatedRoute, ServicesDependency
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.openai.asking import as_wanted, own_names
from undercroft.http.openai.contract import errors
from undercroft.http.openai.inputs import LongText
from undercroft.http.openai.response_inputs import InputItem, MessageItem
from undercroft.http.openai.response_requests import CreateResponse
from undercroft.http.rate_limits import counting
from undercroft.http.wire import RequestBody
from undercroft.kit.errors import InvalidRequestError

router = APIRouter(tags=["responses"], route_class=AuthenticatedRoute)


class CompactResponse(RequestBody):
    """What is to be summed up, and by which model."""

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    input: LongText | Annotated[list[InputItem], Field(max_length=1000)] | None = None
    instructions: LongText | None = None
    previous_response_id: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None

    def as_creation(self) -> CreateResponse:
        """The request for the summary.

        Raises:
            InvalidRequestError: When there is nothing to sum up.
        """
        said = self.input or []
        items = [MessageItem(role="user", content=said)] if isinstance(said, str) else list(said)
        if not items and self.previous_response_id is None:
            raise InvalidRequestError(
                "There is nothing to sum up: give 'input' or 'previous_response_id'.", param="input"
            )
        # What stands in it was looked at when it was read.
        return CreateResponse.model_construct(
            model=self.model,
            input=[*items, MessageItem(role="user", content=INSTRUCTION)],
            instructions=self.instructions,
            previous_response_id=self.previous_response_id,
            prompt_cache_key=self.prompt_cache_key,
        )


@router.post(
    "/v1/responses/compact",
    summary="Compact a conversation",
    responses=errors(404, 409, 410, 429, 502),
)
async def compact_response(
    body: CompactResponse,
    caller: KnownResponseWriter,
    services: ServicesDependency,
    request: Request,
) -> dict[str, Any]:
    """An item that stands for what was said, sealed: pass it back in its place, before what is asked next."""
    wanted = await as_wanted(services, caller, body.as_creation(), has_key=False)
    charge = counting(request, caller)
    with own_names():
        compacted = services.chat.responses.compaction.compact(caller, wanted, charge)
        return await unless_disconnected(request, compacted)
