"""Second factors over real HTTP, of a tenant that comes to demand them."""

import base64
import time
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from tests.e2e.conftest import Service
from tests.e2e.test_accounts_http import PASSWORD, await_code, bearer, read_mail

TENANT = "factors"


@pytest.fixture(scope="module")
def stranger(service: Service) -> Generator[httpx.Client]:
    with httpx.Client(base_url=f"{service.url}/v1", timeout=60) as client:
        yield client


def sign_in(stranger: httpx.Client, email: str) -> httpx.Response:
    body = {"tenant": TENANT, "email": email, "password": PASSWORD}
    return stranger.post("/sessions", json=body)


def make_person(service: Service, stranger: httpx.Client, email: str, role: str) -> dict[str, str]:
    """Somebody's headers, by an API key; they have a password as well."""
    key = service.make_key(TENANT, email, role)
    body = {"tenant": TENANT, "email": email}
    assert stranger.post("/account/password/request", json=body).status_code == 204
    chosen = {"code": await_code(service, email), "password": PASSWORD}
    assert stranger.post("/account/password/code", json=chosen).status_code == 204
    return {"Authorization": f"Bearer {key}"}


def enrol(stranger: httpx.Client, headers: dict[str, str]) -> dict[str, Any]:
    """The code that it was confirmed by, and the recovery codes."""
    begun = stranger.post(
        "/account/second-factor", json={"current_password": PASSWORD}, headers=headers
    )
    assert begun.status_code == 201, begun.text
    assert begun.headers["Location"] == "/v1/account/second-factor"
    assert begun.headers["Cache-Control"] == "no-store"
    app = TOTP(base64.b32decode(begun.json()["secret"]), 6, SHA1(), 30)  # noqa: S303 - as apps have it
    code = app.generate(time.time()).decode()
    confirmed = stranger.post(
        "/account/second-factor/confirmation", json={"code": code}, headers=headers
    )
    assert confirmed.status_code == 200, confirmed.text
    return {"code": code, **confirmed.json()}


def test_a_tenant_that_demands_it_lets_people_in_as_far_as_to_enrol(
    service: Service, stranger: httpx.Client
) -> None:
    by_key = make_person(service, stranger, "admin@factors.example", "admin")
    member = make_person(service, stranger, "ann@factors.example", "member")
    session = bearer(sign_in(stranger, "ann@factors.example").json())
    policy = stranger.put("/second-factor-policy", json={"demanded": True}, headers=by_key)
    assert policy.json() == {"object": "second_factor_policy", "demanded": True}

    for headers in (session, member):
        refused = stranger.get("/documents", headers=headers)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "second_factor_required"
        assert stranger.post("/mcp", headers=headers).status_code != 200
        assert stranger.get("/account", headers=headers).status_code == 200
        shown = stranger.get("/account/second-factor", headers=headers).json()
        assert (shown["demanded"], shown["enabled"]) == (True, False)
    assert stranger.get("/second-factor-policy", headers=by_key).status_code == 403

    enrolled = enrol(stranger, session)
    assert stranger.get("/documents", headers=session).status_code == 200
    assert stranger.get("/documents", headers=member).status_code == 200

    asked = sign_in(stranger, "ann@factors.example")
    assert asked.status_code == 200
    assert asked.json().keys() == {"object", "challenge", "expires_at"}
    answer = {"challenge": asked.json()["challenge"], "code": enrolled["code"]}
    used = stranger.post("/sessions/second-factor", json=answer)
    assert (used.status_code, used.json()["error"]["code"]) == (400, "wrong_second_factor")
    answer["code"] = enrolled["recovery_codes"][0]
    opened = stranger.post("/sessions/second-factor", json=answer)
    assert opened.status_code == 201
    place = opened.headers["Location"].removeprefix("/v1")
    assert stranger.get(place, headers=bearer(opened.json())).json()["current"] is True
    again = stranger.post("/sessions/second-factor", json=answer)
    assert (again.status_code, again.json()["error"]["code"]) == (400, "challenge_over")

    enrol(stranger, by_key)
    me = stranger.get("/account", headers=session).json()["user"]
    removed = stranger.delete(f"/users/{me}/second-factor", headers=by_key)
    assert removed.status_code == 204
    assert stranger.get("/documents", headers=session).status_code == 403
    off = stranger.put("/second-factor-policy", json={"demanded": False}, headers=by_key)
    assert off.json()["demanded"] is False
    assert stranger.get("/documents", headers=session).status_code == 200


def test_no_secret_and_no_code_is_in_the_log(service: Service, stranger: httpx.Client) -> None:
    headers = make_person(service, stranger, "bob@factors.example", "member")
    enrolled = enrol(stranger, headers)
    both = {"current_password": PASSWORD, "code": enrolled["recovery_codes"][0]}
    renewed = stranger.post("/account/second-factor/recovery-codes", json=both, headers=headers)
    assert renewed.status_code == 200
    both["code"] = renewed.json()["recovery_codes"][0]
    removed = stranger.post("/account/second-factor/removal", json=both, headers=headers)
    assert removed.status_code == 204
    log = service.log()
    mails = [read_mail(path)[1] for path in (service.data_dir / "outbox").glob("*.eml")]
    for code in (*enrolled["recovery_codes"], *renewed.json()["recovery_codes"]):
        assert code not in log
        assert not any(code in text for text in mails)
