"""The tools of requests, and what requests say of them; the OpenAI faces agree on most of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from undercroft.chat.providers.options import FunctionTool, ToolChoice, ToolMode
from undercroft.chat.questions import FileSearch
from undercroft.chat.tools.models import FUNCTION_PREFIX, MOST_SERVERS, RemoteServer
from undercroft.http.openai.filters import Filters
from undercroft.http.openai.inputs import Description, FunctionName
from undercroft.http.wire import JsonObject, RequestBody, require_id
from undercroft.kit.errors import InvalidRequestError
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.retrieval.search.models import Quality

SearchQuality: TypeAlias = Literal["fast", "balanced", "exact"]
"""The names of :class:`~undercroft.retrieval.search.models.Quality`."""


class RankingOptions(RequestBody):
    """How found passages are filtered by their rank-derived score."""

    ranker: Annotated[
        Literal["auto", "none", "default-2024-11-15"],
        Field(description="`default-2024-11-15` names OpenAI's own; here it is `auto`."),
    ] = "auto"
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0


class FileSearchTool(RequestBody):
    """Answer from the documents of these vector stores."""

    type: Literal["file_search"]
    vector_store_ids: Annotated[list[str], Field(min_length=1, max_length=20)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 8
    ranking_options: RankingOptions | None = None
    filters: Filters | None = None
    quality: SearchQuality | None = None

    def as_search(self) -> FileSearch:
        """Where to search.

        Raises:
            NotFoundError: When an id cannot be a vector store's.
        """
        collection_ids = [
            require_id(COLLECTION_PREFIX, "vector store", text, "tools.0.vector_store_ids")
            for text in self.vector_store_ids
        ]
        threshold = self.ranking_options.score_threshold if self.ranking_options else 0.0
        return FileSearch(
            tuple(dict.fromkeys(collection_ids)),
            self.max_num_results,
            threshold,
            self.filters.as_filter() if self.filters else None,
            Quality(self.quality or "balanced"),
        )


class NamedTool(RequestBody):
    """Requires the file search."""

    type: Literal["file_search"]


class FunctionDefinition(RequestBody):
    """A function of the client's own."""

    name: FunctionName
    description: Description | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None

    def as_tool(self) -> FunctionTool:
        """The function as models take it."""
        return FunctionTool(self.name, self.description, self.parameters, self.strict)


@dataclass(frozen=True, slots=True)
class RequestedTools:
    """What a request offers, and whether it is to be used.

    Attributes:
        searches: The file searches.
        functions: The client's functions.
        choice: What the request says of its tools; ``required`` where it names a function.
        function: The one function that must be called.
        servers: The servers of remote tools.
    """

    searches: Sequence[FileSearchTool]
    functions: tuple[FunctionTool, ...]
    choice: ToolMode | NamedTool
    function: str | None
    servers: tuple[RemoteServer, ...] = ()

    def as_search(self) -> FileSearch | None:
        """Where to search, if anywhere. The service decides, not the model: where it may, it does.

        Raises:
            InvalidRequestError: When a search is required and no tool says where, or there are two.
            NotFoundError: When an id cannot be a vector store's.
        """
        if self.choice == "none":
            return None
        if len(self.searches) > 1:
            raise InvalidRequestError(
                "Give at most one file_search; it may name several vector stores.", param="tools"
            )
        if self.searches:
            return self.searches[0].as_search()
        # Something else may be what is required.
        is_other = self.choice == "required" and (self.functions or self.function or self.servers)
        if self.choice != "auto" and not is_other:
            raise InvalidRequestError(
                "A search is required, but there is no file_search tool in 'tools' to say where.",
                param="tool_choice",
            )
        return None

    def as_choice(self, *, searches: bool) -> ToolChoice:
        """Whether the client's functions may, must or must not be called.

        Args:
            searches: Whether documents are searched: then a call of some tool is made whatever the model does.

        Raises:
            InvalidRequestError: When two functions share a name, or none has the one that must be called.
        """
        names = {function.name for function in self.functions}
        if len(names) < len(self.functions):
            raise InvalidRequestError("Two functions have the same name.", param="tools")
        self._check_servers(names)
        if self.function is not None:
            if self.function not in names:
                raise InvalidRequestError(
                    f"The function '{self.function}' is required, but it is not in 'tools'.",
                    param="tool_choice",
                )
            return ToolChoice("required", self.function)
        if isinstance(self.choice, NamedTool) or self.choice == "none":
            return ToolChoice("none")
        is_required = self.choice == "required" and not searches
        return ToolChoice("required" if is_required else "auto")

    def _check_servers(self, functions: set[str]) -> None:
        if len({server.label for server in self.servers}) < len(self.servers):
            raise InvalidRequestError("Two tool servers have the same label.", param="tools")
        if len(self.servers) > MOST_SERVERS:
            raise InvalidRequestError(f"Give at most {MOST_SERVERS} tool servers.", param="tools")
        if self.servers and any(name.startswith(FUNCTION_PREFIX) for name in functions):
            raise InvalidRequestError(
                f"Names that begin with '{FUNCTION_PREFIX}' are those of tool servers' tools. Give the function "
                "another one.",
                param="tools",
            )
