"""All the tools there are."""

from collections.abc import Mapping
from typing import Any, Final

from undercroft.http.mcp import collections, connector, documents, records
from undercroft.http.mcp.tools import Tool

TOOLS: Final[Mapping[str, Tool[Any]]] = {
    tool.name: tool
    for tool in (
        connector.SEARCH,
        connector.FETCH,
        documents.LIST_DOCUMENTS,
        documents.GET_DOCUMENT,
        documents.READ_DOCUMENT,
        collections.LIST_COLLECTIONS,
        collections.LIST_COLLECTION_DOCUMENTS,
        collections.SEARCH_COLLECTION,
        records.LIST_SCHEMAS,
        records.LIST_RECORDS,
        records.FIND_RECORDS,
        records.GET_RECORD,
    )
}
