"""Every field that a request may have is in the page that says what becomes of it."""

import re
from pathlib import Path
from typing import Final

import pytest
from fastapi.routing import APIRoute

from undercroft.http.openai.chat_completions import CreateChatCompletion
from undercroft.http.openai.compaction import CompactResponse
from undercroft.http.openai.response_requests import CreateResponse
from undercroft.http.openai.responses import router
from undercroft.http.wire import RequestBody

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "api.md"
BODIES: Final[dict[str, type[RequestBody]]] = {
    "`POST /v1/responses`": CreateResponse,
    "`POST /v1/responses/compact`": CompactResponse,
    "`POST /v1/chat/completions`": CreateChatCompletion,
}
READING: Final = "Reading, cancelling and deleting responses"


def section(title: str) -> str:
    """What stands under a heading, up to the next one of its level."""
    after = PAGE.read_text().split(f"\n### {title}\n", 1)[1]
    return re.split(r"\n###? ", after, maxsplit=1)[0]


def named(title: str) -> set[str]:
    """What its table has in its first column as code; of ``reasoning.effort`` that is ``reasoning``."""
    rows = [line.split("|")[1] for line in section(title).splitlines() if line.startswith("| ")]
    return {re.split(r"[.\[]", name)[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("title", BODIES)
def test_each_field_of_a_body_is_in_its_table(title: str) -> None:
    assert set(BODIES[title].model_fields) <= named(title)


def test_each_parameter_of_a_query_is_in_its_table() -> None:
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    parameters = {
        parameter.alias.removesuffix("[]")
        for route in routes
        for parameter in route.dependant.query_params
    }
    assert parameters
    assert parameters <= named(READING)
