"""Accounts and sessions over real HTTP, with the mail that a worker sends."""

import re
import time
from collections.abc import Generator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Service

TENANT = "accounts"
PASSWORD = "a quiet stair to the cellar"
_MAIL_SECONDS = 30


def await_code(service: Service, to: str, number: int = 1) -> str:
    """The code in somebody's nth mail, the oldest first."""
    outbox, deadline = service.data_dir / "outbox", time.monotonic() + _MAIL_SECONDS
    while time.monotonic() < deadline:
        mails = (
            [read_mail(path) for path in sorted(outbox.glob("*.eml"))] if outbox.exists() else []
        )
        # Letters of what happened, which hold no code, go to the same folder.
        texts = [text for recipient, text in mails if recipient == to and "uc_" in text]
        if len(texts) >= number:
            (code,) = re.findall(r"uc_[0-9A-Za-z_-]{43}", texts[number - 1])
            return str(code)
        time.sleep(0.05)  # another process's mail can only be looked for
    raise AssertionError(f"{to} got no mail")


def read_mail(path: Path) -> tuple[str, str]:
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    return str(message["To"]), str(message.get_content())  # pyright: ignore[reportAttributeAccessIssue] - by this policy


@pytest.fixture(scope="module")
def admin(service: Service) -> Generator[httpx.Client]:
    key = service.make_key(TENANT, "admin@example.org", "admin")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{service.url}/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def stranger(service: Service) -> Generator[httpx.Client]:
    with httpx.Client(base_url=f"{service.url}/v1", timeout=60) as client:
        yield client


def bearer(session: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['access_token']}"}


def sign_in(stranger: httpx.Client, email: str, password: str = PASSWORD) -> httpx.Response:
    body = {"tenant": TENANT, "email": email, "password": password}
    return stranger.post("/sessions", json=body, headers={"User-Agent": "A browser"})


def make_person(service: Service, stranger: httpx.Client, email: str) -> None:
    service.make_key(TENANT, email)
    asked = stranger.post("/account/password/request", json={"tenant": TENANT, "email": email})
    assert asked.status_code == 204
    body = {"code": await_code(service, email), "password": PASSWORD}
    assert stranger.post("/account/password/code", json=body).status_code == 204


def test_a_person_signs_in_and_out(service: Service, stranger: httpx.Client) -> None:
    make_person(service, stranger, "ann@example.org")
    opened = sign_in(stranger, "ann@example.org")
    assert opened.status_code == 201
    assert opened.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in opened.headers
    session = opened.json()
    account = stranger.get("/account", headers=bearer(session)).json()
    assert (account["email"], account["email_verified"], account["role"]) == (
        "ann@example.org",
        True,
        "member",
    )
    shown = stranger.get(opened.headers["Location"].removeprefix("/v1"), headers=bearer(session))
    assert shown.json()["user_agent"] == "A browser"
    assert shown.json()["current"] is True
    listed = stranger.get("/sessions", headers=bearer(session)).json()
    assert [each["id"] for each in listed["data"]] == [session["session"]]

    refreshed = stranger.post("/sessions/refresh", json={"refresh_token": session["refresh_token"]})
    assert refreshed.status_code == 200
    assert refreshed.headers["Cache-Control"] == "no-store"
    newer = refreshed.json()
    assert newer["refresh_token"] != session["refresh_token"]

    gone = stranger.delete(f"/sessions/{session['session']}", headers=bearer(newer))
    assert gone.status_code == 204
    for token in (session, newer):
        assert stranger.get("/account", headers=bearer(token)).status_code == 401
        body = {"refresh_token": token["refresh_token"]}
        assert stranger.post("/sessions/refresh", json=body).status_code == 401


def test_signing_out_elsewhere_and_changing_the_password(
    service: Service, stranger: httpx.Client
) -> None:
    make_person(service, stranger, "bob@example.org")
    here, there, yonder = (sign_in(stranger, "bob@example.org").json() for _ in range(3))
    body = {"current_password": PASSWORD, "password": "a lantern on the third step"}
    wrong = stranger.put(
        "/account/password", json={**body, "current_password": "x" * 9}, headers=bearer(here)
    )
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong_password")
    weak = stranger.put(
        "/account/password", json={**body, "password": "password"}, headers=bearer(here)
    )
    assert (weak.status_code, weak.json()["error"]["code"]) == (400, "weak_password")
    ended = stranger.delete("/sessions", headers=bearer(yonder))
    assert ended.status_code == 204
    assert stranger.get("/account", headers=bearer(there)).status_code == 401
    here = sign_in(stranger, "bob@example.org").json()
    changed = stranger.put("/account/password", json=body, headers=bearer(here))
    assert changed.status_code == 204
    assert stranger.get("/account", headers=bearer(yonder)).status_code == 401
    assert stranger.get("/account", headers=bearer(here)).status_code == 200
    assert sign_in(stranger, "bob@example.org").status_code == 401
    assert sign_in(stranger, "bob@example.org", body["password"]).status_code == 201


def test_whatever_is_wrong_is_answered_alike(service: Service, stranger: httpx.Client) -> None:
    make_person(service, stranger, "cat@example.org")
    answers = [
        sign_in(stranger, "cat@example.org", "not the password"),
        sign_in(stranger, "nobody@example.org"),
        stranger.post(
            "/sessions", json={"tenant": "no", "email": "cat@example.org", "password": PASSWORD}
        ),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_too_many_guesses_have_to_wait(stranger: httpx.Client) -> None:
    statuses = [
        sign_in(stranger, "guessed@example.org", f"guess {number}").status_code
        for number in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2
    assert int(sign_in(stranger, "guessed@example.org").headers["Retry-After"]) >= 1


def test_an_invited_person_and_one_who_signs_up(
    service: Service, admin: httpx.Client, stranger: httpx.Client
) -> None:
    service.make_key(TENANT, "dan@example.org")
    key = service.make_key(TENANT, "dan@example.org")
    dan = stranger.get("/account", headers={"Authorization": f"Bearer {key}"}).json()
    assert dan["email_verified"] is False
    assert admin.post(f"/users/{dan['user']}/invitation").status_code == 204
    body = {"code": await_code(service, "dan@example.org"), "password": PASSWORD}
    assert stranger.post("/account/password/code", json=body).status_code == 204
    again = stranger.post("/account/password/code", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (400, "wrong_code")
    assert admin.post(f"/users/{dan['user']}/invitation").status_code == 409

    wanted = {"tenant": TENANT, "email": "eve@example.org"}
    closed = stranger.post("/account/sign-up", json=wanted)
    assert (closed.status_code, closed.json()["error"]["code"]) == (403, "sign_up_closed")
    assert admin.put("/sign-up", json={"open": True}).json() == {"object": "sign_up", "open": True}
    assert stranger.post("/account/sign-up", json=wanted).status_code == 204
    body = {"code": await_code(service, "eve@example.org"), "password": PASSWORD}
    assert stranger.post("/account/password/code", json=body).status_code == 204
    assert sign_in(stranger, "eve@example.org").status_code == 201
    assert admin.put("/sign-up", json={"open": False}).status_code == 200
    assert admin.get("/sign-up").json()["open"] is False


def test_an_address_is_verified_by_a_code(service: Service, stranger: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {service.make_key(TENANT, 'fay@example.org')}"}
    assert stranger.post("/account/verification", headers=headers).status_code == 204
    body = {"code": await_code(service, "fay@example.org")}
    assert stranger.post("/account/verification/code", json=body).status_code == 204
    assert stranger.get("/account", headers=headers).json()["email_verified"] is True


def test_members_neither_invite_nor_decide_who_signs_up(
    service: Service, stranger: httpx.Client
) -> None:
    headers = {"Authorization": f"Bearer {service.make_key(TENANT, 'gus@example.org')}"}
    me = stranger.get("/account", headers=headers).json()["user"]
    assert stranger.post(f"/users/{me}/invitation", headers=headers).status_code == 403
    assert stranger.put("/sign-up", json={"open": True}, headers=headers).status_code == 403
    assert stranger.get("/sign-up", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"tenant": "a", "email": "a@b.c"}',
        b'{"tenant": "a", "email": "a@b.c", "password": "x", "more": 1}',
        b'{"tenant": "a", "email": "a@b.c", "password": "x\\u0000"}',
        b'{"tenant": "a", "email": "a@b.c", "password": "\\ud800"}',
        b'{"tenant": "a", "email": "a@b.c", "password": 12345678}',
        b'{"tenant": "' + b"a" * 201 + b'", "email": "a@b.c", "password": "x"}',
        b'{"tenant": "a", "email": "a@b.c", "password": "' + b"x" * 257 + b'"}',
    ],
)
def test_a_strangers_malformed_body_is_refused(stranger: httpx.Client, body: bytes) -> None:
    refused = stranger.post("/sessions", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 400


def test_a_strangers_large_body_and_unknown_parameters_are_refused(stranger: httpx.Client) -> None:
    assert stranger.post("/sessions", content=b"x" * 9000).status_code == 413
    assert stranger.post("/sessions?tenant=a", json={}).status_code == 400


def test_no_password_and_no_token_is_in_the_log(service: Service, stranger: httpx.Client) -> None:
    make_person(service, stranger, "hal@example.org")
    session = sign_in(stranger, "hal@example.org").json()
    assert sign_in(stranger, "hal@example.org", "a wrong secret word").status_code == 401
    log = service.log()
    assert "/v1/sessions" in log
    for secret in (
        PASSWORD,
        "a wrong secret word",
        session["access_token"],
        session["refresh_token"],
    ):
        assert secret not in log
    assert "uc_" not in log
    assert "hal@example.org" not in log
