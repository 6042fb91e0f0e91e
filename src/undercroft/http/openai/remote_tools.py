"""Servers of tools, and the items of their calls, as requests have them."""

from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from undercroft.chat.providers.protocol import Message, Role, ToolCall
from undercroft.chat.tools.models import RemoteServer, function_name
from undercroft.chat.transcript import approval_told, remote_messages
from undercroft.http.openai.inputs import LongText
from undercroft.http.wire import JsonObject, RequestBody
from undercroft.kit.egress_policy import LONGEST_URL

_ToolName: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
_ToolNames: TypeAlias = Annotated[list[_ToolName], Field(max_length=128)]
_Label: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
_HeaderName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
_HeaderValue: TypeAlias = Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,8192}$")]
_Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
_OURS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
"""Headers that are the exchange's own."""


class ToolNames(RequestBody):
    """Some of a server's tools."""

    tool_names: _ToolNames


class ApprovalFilter(RequestBody):
    """Which tools are called without asking, and which are not. What is in neither has to be approved."""

    always: ToolNames | None = None
    never: ToolNames | None = None


class McpTool(RequestBody):
    """Offers the tools of a server that speaks the Model Context Protocol. The service makes the calls."""

    type: Literal["mcp"]
    server_label: _Label
    server_url: Annotated[str, Field(max_length=LONGEST_URL)]
    authorization: Annotated[_HeaderValue | None, Field(repr=False)] = None
    headers: Annotated[dict[_HeaderName, _HeaderValue] | None, Field(max_length=20, repr=False)] = (
        None
    )
    allowed_tools: _ToolNames | ToolNames | None = None
    require_approval: Literal["always", "never"] | ApprovalFilter | None = None

    @field_validator("server_url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            # Where it has none that can be, this raises, too.
            _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("that is no URL") from None
        return url

    @field_validator("headers")
    @classmethod
    def _are_free(cls, headers: dict[str, str] | None) -> dict[str, str] | None:
        if any(name.lower() in _OURS for name in headers or ()):
            raise ValueError("some of these headers are the exchange's own; leave them out")
        return headers

    @model_validator(mode="after")
    def _is_authorized_once(self) -> "McpTool":
        names = {name.lower() for name in self.headers or ()}
        if self.authorization is not None and "authorization" in names:
            raise ValueError("authorization stands in headers as well; leave one of the two out")
        return self

    def as_server(self) -> RemoteServer:
        """The server as it is asked."""
        headers = dict(self.headers or {})
        if self.authorization is not None:
            headers["Authorization"] = f"Bearer {self.authorization}"
        allowed = self.allowed_tools
        names = allowed.tool_names if isinstance(allowed, ToolNames) else allowed
        return RemoteServer(
            self.server_label,
            self.server_url,
            headers,
            None if names is None else frozenset(names),
            self._unasked(),
        )

    def echo(self) -> JsonObject:
        """As a response repeats it: without what may be secret, which a URL's path may be, too."""
        shown = self.model_dump(exclude={"authorization", "headers", "server_url"})
        parts = urlsplit(self.server_url)
        return {
            **shown,
            "server_url": f"{parts.scheme}://{parts.netloc}/<redacted>",
            "headers": None,
            "require_approval": shown["require_approval"] or "always",
        }

    def _unasked(self) -> frozenset[str] | None:
        if self.require_approval == "never":
            return None
        if not isinstance(self.require_approval, ApprovalFilter):
            return frozenset()
        never, always = self.require_approval.never, self.require_approval.always
        unasked = frozenset(never.tool_names if never else ())
        return unasked - frozenset(always.tool_names if always else ())


class McpListToolsItem(RequestBody):
    """What an earlier answer was offered, passed back with it. The service asks anew."""

    type: Literal["mcp_list_tools"]
    id: str | None = None
    server_label: _Label
    tools: Annotated[list[JsonObject], Field(max_length=1024)]
    error: str | None = None


class McpCallError(RequestBody):
    """Why a call came to nothing: the protocol's words, or the tool's own."""

    type: Annotated[str, Field(max_length=64)] | None = None
    code: int | None = None
    message: LongText | None = None
    content: Annotated[list[JsonObject], Field(max_length=100)] | None = None


class McpCallItem(RequestBody):
    """A call that an earlier answer made."""

    type: Literal["mcp_call"]
    id: _Id
    approval_request_id: _Id | None = None
    server_label: _Label
    name: _ToolName
    arguments: LongText
    output: LongText | None = None
    error: McpCallError | None = None
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] | None = None

    def as_messages(self) -> tuple[Message, Message]:
        """The call and what came of it, as models take them."""
        return remote_messages(self.model_dump())


class McpApprovalRequestItem(RequestBody):
    """A call that an earlier answer asks to have approved."""

    type: Literal["mcp_approval_request"]
    id: _Id
    server_label: _Label
    name: _ToolName
    arguments: LongText

    def as_call(self) -> ToolCall:
        """The call as models take it."""
        return ToolCall(self.id, function_name(self.server_label, self.name), self.arguments)


class McpApprovalResponseItem(RequestBody):
    """Whether a call may be made."""

    type: Literal["mcp_approval_response"]
    id: str | None = None
    approval_request_id: _Id
    approve: bool
    reason: Annotated[str, Field(max_length=4096)] | None = None

    def as_message(self) -> Message:
        """What a model is told of it."""
        told = approval_told(self.model_dump())
        return Message(Role.TOOL, told, tool_call_id=self.approval_request_id)
