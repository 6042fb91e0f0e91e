"""What attackers with a credential of their own tried over HTTP: the bearer of a link, and somebody with no way in."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import connect, upload
from tests.e2e.conftest import Service

TENANT = "besieged"
NOTICE = {
    "title": "A letter to everybody",
    "text": "Send your password to the address below.",
    "language": "en",
    "purpose": "service.operation",
    "purpose_description": "To have it",
    "data_categories": ["contact"],
    "controller": {"name": "Mallory", "contact": "mallory@elsewhere.example"},
    "recipients": ["Mallory"],
    "retention": "For ever",
    "jurisdictions": ["EU"],
    "withdrawal": "None",
    "validity_days": 30,
    "erases": False,
}


@pytest.fixture
def owner(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "owner@besieged.example")) as client:
        yield client


@pytest.fixture
def stranger(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "stranger@besieged.example")) as client:
        yield client


@pytest.fixture
def anybody(service: Service) -> Generator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def make_link(owner: httpx.Client, resource: str, *actions: str) -> str:
    made = owner.post("/v1/share-links", json={"resource": resource, "actions": actions})
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


@contextmanager
def open_link(service: Service, token: str) -> Generator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as anybody:
        redeemed = anybody.post("/v1/share-links/redeem", json={"token": token})
    assert redeemed.status_code == 200, redeemed.text
    with connect(service.url, redeemed.json()["access_token"]) as holder:
        yield holder


def test_a_page_of_grants_tells_nobody_what_is_there(
    owner: httpx.Client, stranger: httpx.Client
) -> None:
    hidden, missing = upload(owner), f"file-{'0' * 32}"
    after = {"after": f"grant_{'0' * 32}"}
    answers = [
        stranger.get("/v1/grants", params={"resource": resource, **after})
        for resource in (hidden, missing)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    messages = {answer.json()["error"]["message"].replace(hidden, missing) for answer in answers}
    assert len(messages) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/consent-notices", NOTICE),
        ("GET", "/v1/consent-notices", None),
        ("GET", "/v1/consent-notices/{notice}", None),
        ("GET", "/v1/schemas", None),
        ("GET", "/v1/usage", None),
        ("POST", "/v1/access-requests", {"resource": "{other}", "actions": ["read"]}),
    ],
)
def test_a_links_holder_neither_sees_nor_writes_what_is_the_tenants(
    service: Service, owner: httpx.Client, method: str, path: str, body: dict[str, Any] | None
) -> None:
    published = owner.post("/v1/consent-notices", json=NOTICE)
    assert published.status_code == 201, published.text
    shared, names = upload(owner), {"notice": published.json()["id"], "other": upload(owner)}
    content = body and {
        name: value.format(**names) if isinstance(value, str) else value
        for name, value in body.items()
    }
    with open_link(service, make_link(owner, shared, "read")) as holder:
        refused = holder.request(method, path.format(**names), json=content)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "links_only")


def test_two_who_hold_a_link_do_not_read_each_others_questions(
    service: Service, owner: httpx.Client
) -> None:
    store = owner.post("/v1/vector_stores", json={"name": "gates"}).json()["id"]
    token = make_link(owner, store, "search", "read")
    question = {
        "model": "extractive",
        "input": "Is the physician's letter about my illness in here?",
        "tools": [{"type": "file_search", "vector_store_ids": [store]}],
    }
    with open_link(service, token) as first, open_link(service, token) as second:
        asked = first.post("/v1/responses", json=question)
        assert asked.status_code == 200, asked.text
        response_id = asked.json()["id"]
        assert second.get(f"/v1/responses/{response_id}").status_code == 404
        seen = second.get("/v1/access/resources").json()["data"]
    assert response_id not in {one["resource"] for one in seen}


@pytest.mark.parametrize(
    ("params", "content"),
    [
        ({"token": "ul_" + "x" * 43}, b'{"token": "ul_x"}'),
        ({}, b'{"token": "ul_x", "token": "ul_y"}'),
        ({}, b'{"token": "ul_x", "passcode": NaN}'),
    ],
)
def test_a_link_is_redeemed_by_one_reading_of_the_request(
    anybody: httpx.Client, params: dict[str, str], content: bytes
) -> None:
    """A token in an address would be in logs and histories; a body with two tokens means two things to two readers."""
    headers = {"Content-Type": "application/json"}
    answer = anybody.post("/v1/share-links/redeem", params=params, content=content, headers=headers)
    assert answer.status_code == 400, answer.text


def test_a_key_that_ends_makes_none_that_does_not(owner: httpx.Client) -> None:
    me = owner.get("/v1/users").json()["data"][0]["id"]
    short = owner.post(f"/v1/users/{me}/keys", json={"expires_in": 3600}).json()
    with connect(str(owner.base_url), short["secret"]) as leaked:
        for longer in ({}, {"expires_in": 7200}):
            refused = leaked.post(f"/v1/users/{me}/keys", json=longer)
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                403,
                "outlives_yours",
            )
        made = leaked.post(f"/v1/users/{me}/keys", json={"expires_in": 600})
        assert made.status_code == 201, made.text


@pytest.mark.parametrize(
    "path", ["/v1/access/resources", "/v1/audit", "/v1/grants", "/v1/users", "/v1/files"]
)
def test_whoever_uses_the_browser_next_finds_nothing_in_its_cache(
    owner: httpx.Client, path: str
) -> None:
    assert owner.get(path).headers["Cache-Control"] == "no-store"


def test_a_made_up_address_in_a_header_escapes_no_limit(anybody: httpx.Client) -> None:
    guess = {"tenant": TENANT, "email": "guessed@besieged.example", "password": "a wrong password"}
    answers = [
        anybody.post(
            "/v1/sessions",
            json=guess,
            headers={
                "X-Forwarded-For": f"198.51.100.{number}",
                "Forwarded": f"for=10.0.0.{number}",
            },
        )
        for number in range(8)
    ]
    assert {answer.status_code for answer in answers[:5]} == {401}
    assert {answer.status_code for answer in answers[5:]} == {429}
