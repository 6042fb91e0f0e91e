"""Exchange, introspection and revocation over HTTP, by a real OAuth client and by those who get the forms wrong."""

import asyncio
import json
import os
from collections.abc import Generator
from typing import Any
from urllib.parse import urlencode

import httpx2 as httpx
import pytest
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from tests.e2e.api import await_entries, connect
from tests.e2e.conftest import Service
from undercroft.identity.keys import make_key
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import running_urls
from undercroft.ledger.service import Ledger

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
API_KEY = "urn:undercroft:token-type:api_key"
FORM = "application/x-www-form-urlencoded"
GOOD = {"grant_type": GRANT, "subject_token_type": API_KEY, "scope": "search documents:read"}


def make_service_key(service: Service, beside: str, scopes: list[str], name: str = "robot") -> str:
    """A key of a service in the tenant of another key's user."""

    async def make() -> str:
        urls = running_urls(service.data_dir)
        assert urls is not None
        clock, ids = SystemClock(), IdSource()
        async with Database(urls.service, clock=clock, size=2) as database:
            identity = IdentityService(database, Ledger(database, ids, clock), ids, clock)
            user = await identity.authenticate(beside)
            service_id, key = ids.new(), make_key(os.urandom)
            async with database.transaction(user) as transaction:
                await transaction.execute(
                    "INSERT INTO users (id, tenant_id, role, kind, name)"
                    " VALUES ($1, $2, 'member', 'service', $3)",
                    service_id,
                    user.tenant_id,
                    name,
                )
                await transaction.execute(
                    "INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash, scopes)"
                    " VALUES ($1, $2, $3, $4, $5, $6)",
                    ids.new(),
                    user.tenant_id,
                    service_id,
                    key.prefix,
                    key.key_hash,
                    scopes,
                )
            return key.secret

    return asyncio.run(make())


@pytest.fixture(scope="module")
def user(service: Service) -> str:
    return service.make_key("exchanging", "ann@example.org")


@pytest.fixture(scope="module")
def robot(service: Service, user: str) -> str:
    scopes = ["act_for_users", "tokens:read", "tokens:revoke", "search", "documents:read"]
    return make_service_key(service, user, scopes)


@pytest.fixture
def client(robot: str) -> Generator[OAuth2Session]:
    """Authlib's client, which proves who it is as its service does everywhere: by its key."""

    def authenticate(_: object, method: str, uri: str, headers: Any, body: str) -> Any:  # noqa: ANN401 - Authlib's
        del method
        headers["Authorization"] = f"Bearer {robot}"
        return uri, headers, body

    session = OAuth2Session(
        token_endpoint_auth_method="bearer", revocation_endpoint_auth_method="bearer"
    )
    session.register_client_auth_method(("bearer", authenticate))
    yield session
    session.close()  # pyright: ignore[reportAttributeAccessIssue] - of requests, which has no types here


def send(service: Service, key: str, endpoint: str, form: dict[str, str] | str) -> httpx.Response:
    body = form if isinstance(form, str) else urlencode(form)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": FORM}
    return httpx.post(
        f"{service.url}/v1/oauth/{endpoint}", content=body, headers=headers, timeout=60
    )


def get(service: Service, key: str, path: str) -> httpx.Response:
    return httpx.get(f"{service.url}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=60)


def test_a_real_client_exchanges_asks_and_revokes(
    service: Service, client: OAuth2Session, user: str
) -> None:
    base = f"{service.url}/v1/oauth"
    token = client.fetch_token(
        f"{base}/token", grant_type=GRANT, subject_token=user, subject_token_type=API_KEY
    )
    assert token["issued_token_type"] == ACCESS_TOKEN
    assert token["token_type"] == "Bearer"
    assert 0 < token["expires_in"] <= 600
    assert token["scope"] == "documents:read search tokens:revoke"
    bearer = token["access_token"]
    assert get(service, bearer, "/v1/files").status_code == 200
    assert get(service, bearer, "/v1/vector_stores").status_code == 403

    asked = client.introspect_token(f"{base}/introspect", token=bearer).json()
    assert asked["active"] is True
    assert asked["scope"] == token["scope"]
    assert asked["sub"] != asked["act"]["sub"]
    assert 0 < asked["exp"] - asked["iat"] <= 600

    assert client.revoke_token(f"{base}/revoke", token=bearer).status_code == 200
    assert client.introspect_token(f"{base}/introspect", token=bearer).json() == {"active": False}
    assert get(service, bearer, "/v1/files").status_code == 401


def test_a_real_client_understands_a_refusal(
    service: Service, client: OAuth2Session, user: str
) -> None:
    with pytest.raises(OAuthError) as refused:
        client.fetch_token(
            f"{service.url}/v1/oauth/token",
            grant_type=GRANT,
            subject_token=user,
            subject_token_type=API_KEY,
            scope="collections:write",
        )
    assert refused.value.error == "invalid_scope"


def test_the_audit_of_the_user_shows_both(service: Service, robot: str, user: str) -> None:
    issued = send(service, robot, "token", {**GOOD, "subject_token": user}).json()
    bearer = issued["access_token"]
    assert get(service, bearer, "/v1/documents/file-" + "0" * 32).status_code == 404
    with connect(service.url, user) as reader:
        entries = await_entries(reader, action="token.exchange")
    asked = send(service, robot, "introspect", {"token": bearer}).json()
    assert entries[0]["actor"] == asked["act"]["sub"]
    assert entries[0]["on_behalf_of"] == entries[0]["owner"] == asked["sub"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token": "x" * 20_000}, "invalid_request"),
        ({"subject_token": 'a"\\\u00e9\x00b'}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"subject_token_type": ACCESS_TOKEN}, "invalid_request"),
        ({"scope": "nothing"}, "invalid_scope"),
        ({"resource": "https://other.example"}, "invalid_target"),
        ({"audience": "other"}, "invalid_target"),
        ({"requested_token_type": API_KEY}, "invalid_request"),
        ({"actor_token": "uk_somebody_else", "actor_token_type": API_KEY}, "invalid_request"),
    ],
)
def test_a_wrong_exchange_is_refused_in_the_words_of_the_rfc(
    service: Service, robot: str, user: str, change: dict[str, str], error: str
) -> None:
    answer = send(service, robot, "token", {**GOOD, "subject_token": user, **change})
    assert answer.status_code == 400
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"error", "error_description"}
    assert body["error"] == error
    assert body["error_description"].isascii()
    assert not set('"\\') & set(body["error_description"])


def test_the_actor_may_be_repeated(service: Service, robot: str, user: str) -> None:
    actor = {"actor_token": robot, "actor_token_type": API_KEY}
    answer = send(service, robot, "token", {**GOOD, "subject_token": user, **actor})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    [
        "grant_type=a&grant_type=a",
        "grant_type",
        "grant_type=%ff",
        "grant_type=\u00e9",
        "&".join(f"p{number}=1" for number in range(40)),
        "",
    ],
)
def test_what_is_no_form_is_refused(service: Service, robot: str, body: str) -> None:
    answer = send(service, robot, "token", body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_large_body_and_another_type_are_refused(service: Service, robot: str) -> None:
    large = send(service, robot, "introspect", {"token": "x" * 40_000})
    assert (large.status_code, large.json()["error"]) == (413, "invalid_request")
    sent = httpx.post(
        f"{service.url}/v1/oauth/introspect",
        content=json.dumps({"token": "x"}),
        headers={"Authorization": f"Bearer {robot}", "Content-Type": "application/json"},
        timeout=60,
    )
    assert (sent.status_code, sent.json()["error"]) == (415, "invalid_request")


def test_credentials_in_the_address_are_refused(service: Service, robot: str, user: str) -> None:
    answer = send(service, robot, f"introspect?token={user}", {"token": user})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert user not in service.log()


def test_who_may_not_is_told_so(service: Service, user: str) -> None:
    nobody = send(service, "uk_wrong", "token", GOOD)
    assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_client")
    assert nobody.headers["WWW-Authenticate"] == "Bearer"
    for endpoint in ("token", "introspect"):
        answer = send(service, user, endpoint, {**GOOD, "token": user, "subject_token": user})
        assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


def test_an_admin_asks_and_another_tenant_learns_nothing(service: Service, user: str) -> None:
    admin = service.make_key("exchanging", "boss@example.org", "admin")
    stranger = service.make_key("elsewhere", "eve@example.org", "admin")
    assert send(service, admin, "introspect", {"token": user}).json()["active"] is True
    for token in (user, user[:-1] + "-", "rubbish"):
        answer = send(service, stranger, "introspect", {"token": token, "token_type_hint": "x"})
        assert (answer.status_code, answer.json()) == (200, {"active": False})
    assert send(service, stranger, "revoke", {"token": user}).status_code == 200
    assert get(service, user, "/v1/files").status_code == 200
