"""Users, groups and keys over HTTP, as an admin's client sees them."""

from collections.abc import Generator

import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.conftest import Service


@pytest.fixture
def admin(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key("staff", "admin@example.org", "admin")) as client:
        yield client


@pytest.fixture
def member(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key("staff", "member@example.org")) as client:
        yield client


def test_a_service_with_a_narrow_key_may_do_what_that_names(
    service: Service, admin: httpx.Client
) -> None:
    made = admin.post("/v1/services", json={"name": "invoices"})
    assert made.status_code == 201, made.text
    robot = made.json()
    assert made.headers["Location"] == f"/v1/users/{robot['id']}"
    assert made.headers["ETag"] == '"1"'
    keys = f"/v1/users/{robot['id']}/keys"
    answer = admin.post(keys, json={"scopes": ["documents:read"], "expires_in": 600})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    key = answer.json()
    with connect(service.url, key["secret"]) as narrow:
        assert narrow.get("/v1/documents").status_code == 200
        refused = narrow.post("/v1/schemas", json={"name": "x", "schema": {}})
        assert refused.status_code == 403
        assert "schemas:write" in refused.text
        assert key["secret"] not in admin.get(keys).text
        assert admin.delete(f"{keys}/{key['id']}").status_code == 200
        assert narrow.get("/v1/documents").status_code == 401
    for body in ({"scopes": ["root"]}, {"scopes": []}, {"expires_in": 1}, {"colour": 1}):
        assert admin.post(keys, json=body).status_code == 400, body
    removed = admin.delete(f"/v1/users/{robot['id']}", headers={"If-Match": '"1"'})
    assert removed.json() == {"id": robot["id"], "object": "user.deleted", "deleted": True}
    assert admin.get(f"/v1/users/{robot['id']}").status_code == 404


def test_changes_need_the_tag_that_was_read(admin: httpx.Client) -> None:
    user = admin.post("/v1/users", json={"email": "dan@example.org"})
    path = f"/v1/users/{user.json()['id']}"
    assert admin.patch(path, json={"role": "admin"}).status_code == 428
    stale = admin.patch(path, json={"role": "admin"}, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    changed = admin.patch(path, json={"role": "admin"}, headers={"If-Match": user.headers["ETag"]})
    assert (changed.status_code, changed.json()["role"]) == (200, "admin")
    known = admin.get(path, headers={"If-None-Match": changed.headers["ETag"]})
    assert known.status_code == 304
    assert admin.post(f"{path}/suspend").json()["suspended_at"] is not None
    assert admin.post(f"{path}/reinstate").json()["suspended_at"] is None
    assert admin.delete(path).status_code == 200


def test_members_see_their_groups_and_change_none(
    admin: httpx.Client, member: httpx.Client
) -> None:
    (own,) = member.get("/v1/users").json()["data"]
    assert own["email"] == "member@example.org"
    made = admin.post("/v1/groups", json={"name": "readers"})
    assert made.status_code == 201, made.text
    path = made.headers["Location"]
    assert member.get(path).status_code == 404
    added = admin.post(f"{path}/members", json={"user": own["id"]})
    assert (added.status_code, added.headers["Location"]) == (201, f"{path}/members/{own['id']}")
    assert admin.post(f"{path}/members", json={"user": own["id"]}).status_code == 200
    assert [one["name"] for one in member.get("/v1/groups").json()["data"]] == ["readers"]
    assert member.get(added.headers["Location"]).json()["email"] == "member@example.org"
    assert member.delete(path).status_code == 403
    assert admin.delete(added.headers["Location"]).status_code == 200
    assert member.get(path).status_code == 404
    assert admin.delete(path).json()["object"] == "group.deleted"
