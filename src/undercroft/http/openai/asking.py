"""What is asked for by whoever wants a response, over whichever transport."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import Final
from uuid import UUID

from undercroft.chat.providers.options import Ability
from undercroft.chat.responses.carried_content import is_carrying
from undercroft.chat.responses.models import RESPONSE_PREFIX, ResponseRequest
from undercroft.http.deps import require_permission
from undercroft.http.openai.given_files import with_texts
from undercroft.http.openai.response_requests import CreateResponse
from undercroft.http.services import Services
from undercroft.http.wire import JsonObject, require_id
from undercroft.idempotency.errors import KeyNotTakenError
from undercroft.idempotency.models import RequestKey
from undercroft.idempotency.service import MadeBeforeError, Once
from undercroft.identity.models import Kind, Permission, Principal
from undercroft.kit.errors import InvalidRequestError

_OWN_NAMES: Final[Mapping[str | None, str]] = {
    Ability.JSON.value: "text.format",
    Ability.VERBOSITY.value: "text.verbosity",
    Ability.REASONING.value: "reasoning.effort",
    Ability.LOGPROBS.value: "include",
    Ability.IMAGES.value: "input",
    Ability.FILES.value: "input",
}
_TOLD_AS_THEY_ARE: Final = frozenset({Ability.LOGPROBS, Ability.IMAGES, Ability.FILES})
"""What a field holds, and not the field: the message says which of its values is meant."""


async def as_wanted(
    services: Services, caller: Principal, body: CreateResponse, *, has_key: bool
) -> ResponseRequest:
    """The request for the service, of a caller who may ask for responses.

    Raises:
        KeyNotTakenError: When it comes with an idempotency key, and the response is not kept.
        UndercroftError: When it cannot be answered, or goes on from what the caller may not read.
    """
    # All who hold a link are one principal: what is kept for one of them would be there for the others.
    may_keep = caller.kind is not Kind.LINK
    if has_key and (body.store is False or not may_keep):
        raise KeyNotTakenError
    if not isinstance(body.input, str):
        items = await with_texts(services.chat.file_texts, caller.tenant_id, body.input, "input")
        body = body.model_copy(update={"input": items})
    wanted = body.as_request(services.chat.answers.default_model, may_keep=may_keep)
    is_after = wanted.previous_id is not None or wanted.conversation_id is not None
    if is_after or is_carrying(wanted.question):
        # Its model is told what was said before, and can be asked to repeat it.
        await require_permission(services, caller, Permission.RESPONSES_READ)
    return wanted


async def events_of(
    services: Services, caller: Principal, wanted: ResponseRequest, key: RequestKey | None
) -> AsyncGenerator[JsonObject]:
    """The events of a new response; or of that which was made under the key before, from the first one on.

    Raises:
        UndercroftError: Before the first event, as the services.
    """
    made_id = None if key is None else await services.idempotency.find_made(caller, key)
    if made_id is None:
        once = None if key is None else Once(services.idempotency, caller, key)
        try:
            with own_names():
                async with aclosing(services.chat.responses.stream(caller, wanted, once)) as events:
                    async for event in events:
                        yield event
        except MadeBeforeError as known:
            made_id = known.made_id
        else:
            return
    watched = services.chat.responses.watch(caller, require_response_id(made_id), -1)
    async with aclosing(watched) as events:
        async for event in events:
            yield event


@contextmanager
def own_names() -> Generator[None]:
    """A field that has another name here than in chat completions is refused by its own."""
    try:
        yield
    except InvalidRequestError as error:
        own = _OWN_NAMES.get(error.param)
        if own is None:
            raise
        message = error.message
        if error.param not in _TOLD_AS_THEY_ARE:
            message = message.replace(f"'{error.param}'", f"'{own}'")
        raise InvalidRequestError(message, param=own, code=error.code) from error


def require_response_id(text: str) -> UUID:
    """The id of a response.

    Raises:
        NotFoundError: When it can be none.
    """
    return require_id(RESPONSE_PREFIX, "response", text)
