"""How each POST keeps its promise is decided for every one, once; and what the documentation says of the header."""

import pytest
from fastapi import FastAPI

from tests.http.test_access import checks_by_route
from undercroft.http.app import create_application
from undercroft.http.idempotent_routes import TAKING_NONE, WAYS, Way
from undercroft.kit.settings import Settings


async def all_is_well() -> None:
    return None


@pytest.fixture(scope="module")
def application() -> FastAPI:
    # Nothing is opened before the application is started.
    return create_application(Settings(), "postgresql://nobody@localhost/none", all_is_well)


def test_every_post_has_its_one_way(application: FastAPI) -> None:
    routes = checks_by_route(application)
    assert set(WAYS) == {route for route in routes if route.startswith("POST ")}


@pytest.mark.parametrize("route", sorted(set(WAYS) - {"POST /mcp"}))  # OpenAPI does not list it
def test_the_header_is_documented_where_it_is_taken(route: str, application: FastAPI) -> None:
    operation = application.openapi()["paths"][route.partition(" ")[2]]["post"]
    names = [parameter["name"] for parameter in operation.get("parameters", ())]
    assert names.count("Idempotency-Key") == (WAYS[route] not in TAKING_NONE)
    if WAYS[route] is Way.ONE_TRANSACTION:
        assert {"409", "410", "422", "429"} <= operation["responses"].keys()
