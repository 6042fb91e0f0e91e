"""What a tool is: a name, what it takes and answers, which permission it asks for, and a service that does it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import Field

from undercroft.http.deps import require_permission
from undercroft.http.json_bodies import validate_model
from undercroft.http.objects import Shown
from undercroft.http.services import Services
from undercroft.http.wire import JsonObject, RequestBody
from undercroft.identity.models import Permission, Principal
from undercroft.sharing.models import EVERY_MODEL_USE, ModelUse

MODEL_USE: Final[frozenset[ModelUse]] = EVERY_MODEL_USE
"""What the model at the other end is taken to do. Nobody here knows which one it is, where it runs or what it writes:
it gets what every kind of use is allowed of, and nothing else (docs/mcp.md)."""

Limit = Annotated[int, Field(ge=1, le=100, description="The most entries.")]
After = Annotated[
    str | None,
    Field(max_length=64, description="The `last_id` of the answer before, to go on behind it."),
]


class PageArguments(RequestBody):
    """Which part of a list."""

    limit: Limit = 20
    after: After = None


Arguments = TypeVar("Arguments", bound=RequestBody)


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls a tool, and with what it works.

    Attributes:
        base_url: The service's address as the caller has it, with a slash at its end.
    """

    caller: Principal
    services: Services
    base_url: str


@dataclass(frozen=True, slots=True)
class Tool(Generic[Arguments]):
    """One tool. None of them changes anything.

    Attributes:
        permission: What the caller has to have, as of a route.
        for_links: Whether that is enough for whoever holds a share link.
        description: For the model that chooses among tools.
    """

    name: str
    title: str
    description: str
    permission: Permission
    arguments: type[Arguments]
    result: type[Shown]
    run: Callable[[Call, Arguments], Awaitable[JsonObject]]
    for_links: bool = True

    async def call(self, call: Call, arguments: Mapping[str, Any]) -> JsonObject:
        """What the caller gets.

        Raises:
            UndercroftError: When they may not, or it is not there.
            RequestValidationError: When the arguments are not what it takes.
        """
        await require_permission(
            call.services, call.caller, self.permission, for_links=self.for_links
        )
        return await self.run(call, validate_model(arguments, self.arguments))
