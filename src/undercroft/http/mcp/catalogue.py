"""All the tools there are."""

from collections.abc import Mapping
from typing import Any, Final

from undercroft.http.mcp import connector
from undercroft.http.mcp.tools import Tool

TOOLS: Final[Mapping[str, Tool[Any]]] = {
    tool.name: tool
    for tool in (
        connector.SEARCH,
        connector.FETCH,
    )
}
