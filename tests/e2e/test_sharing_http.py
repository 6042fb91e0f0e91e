"""Sharing over HTTP: somebody from outside, a purpose, a link, a search under a grant, and the end of each."""

import time
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import await_entries, connect, one_with, share, upload, upload_to_search
from tests.e2e.conftest import Service

TEXT = b"The orchard gate is locked with the iron key from the pantry."
TENANT = "orchard"


@pytest.fixture
def ann(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "ann@orchard.example")) as client:
        yield client


def test_a_stranger_becomes_a_guest_who_sees_what_they_were_granted(
    service: Service, ann: httpx.Client
) -> None:
    document, other = upload(ann, TEXT), upload(ann, TEXT)
    guest_address = "guest@elsewhere.example"
    grant = share(ann, document, guest_address, "read", "download")
    with connect(service.url, service.make_key(TENANT, guest_address)) as guest:
        assert guest.get(f"/v1/documents/{document}").json()["name"] == "gate.txt"
        assert guest.get(f"/v1/documents/{document}/content").content == TEXT
        assert guest.get(f"/v1/documents/{other}").status_code == 404
        nothing = {"bytes": 0, "quota_bytes": None}
        assert guest.get("/v1/usage").json() == {
            "object": "usage",
            "user": nothing,
            "tenant": None,
        }
        assert ann.get("/v1/usage").json()["tenant"]["bytes"] > 0
        refused = guest.patch(
            f"/v1/documents/{document}", json={"name": "mine"}, headers={"If-Match": "*"}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_granted")
        decision = guest.post(
            "/v1/access/check", json={"resource": document, "action": "download"}
        ).json()
        assert decision["allowed"]
        assert decision["because"][0]["chains"][0][0]["id"] == grant
        assert ann.delete(f"/v1/grants/{grant}").status_code == 204
        assert guest.get(f"/v1/documents/{document}").status_code == 404
        assert guest.get("/v1/access/resources").json()["data"] == []
    seen = ann.get("/v1/access/principals", params={"resource": document}).json()["data"]
    assert [entry["owner"] for entry in seen] == [True]


def test_a_purpose_has_to_be_stated(service: Service, ann: httpx.Client) -> None:
    document = upload(ann, TEXT)
    bob_address = "bob@orchard.example"
    with connect(service.url, service.make_key(TENANT, bob_address)) as bob:
        share(ann, document, bob_address, "download", purpose="audit")
        path = f"/v1/documents/{document}/content"
        assert bob.get(path).status_code == 404
        assert bob.get(path, headers={"Undercroft-Purpose": "sales"}).status_code == 404
        assert bob.get(path, headers={"Undercroft-Purpose": "audit"}).status_code == 200
        wrong = bob.get(path, headers={"Undercroft-Purpose": "To have a look"})
        assert wrong.status_code == 400
    await_entries(ann, one_with(purpose="audit"), resource=document)


def test_an_owner_sees_each_use_of_a_document_and_under_which_grant(
    service: Service, ann: httpx.Client
) -> None:
    document = upload_to_search(ann, "gate.txt", TEXT.decode())
    bob_address = "bea@orchard.example"
    actions = ("search", "read", "download", "share")
    grant = share(ann, document, bob_address, *actions, purpose="audit")
    path, question = f"/v1/documents/{document}", "What locks the orchard gate?"
    with connect(service.url, service.make_key(TENANT, bob_address)) as bob:
        # For no purpose it is not theirs: on record as refused, and no use of it.
        assert bob.get(f"{path}/content").status_code == 404
        bob.headers["Undercroft-Purpose"] = "audit"
        assert bob.get(f"{path}/content").content == TEXT
        assert bob.get(f"{path}/text").json()["data"][0]["text"] == TEXT.decode()
        found = bob.post("/v1/search", json={"query": question}).json()["data"]
        assert len(found) == 1
        store = bob.post("/v1/vector_stores", json={}).json()["id"]
        assert bob.post(f"/v1/vector_stores/{store}/files", json={"file_id": document}).is_success
        tool = {"type": "file_search", "vector_store_ids": [store]}
        answered = bob.post("/v1/responses", json={"input": question, "tools": [tool]})
        assert answered.json()["status"] == "completed", answered.text
        assert bob.get(f"{path}/uses").status_code == 403
    await_entries(ann, one_with(action="document.answer"), resource=document)
    uses: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        after = {"after": uses[-1]["id"]} if uses else {}
        page = ann.get(f"{path}/uses", params={"limit": "1", **after}).json()
        uses += page["data"]
    assert [each["action"] for each in uses] == [
        "document.answer",
        "document.search",
        "document.read",
        "document.read",
    ]
    assert {(each["grant"], each["purpose"], each["outcome"]) for each in uses} == {
        (grant, "audit", "allowed")
    }


def test_a_link_opens_what_it_was_made_for_until_it_is_revoked(
    service: Service, ann: httpx.Client
) -> None:
    document = upload(ann, TEXT)
    made = ann.post(
        "/v1/share-links",
        json={
            "resource": document,
            "actions": ["read", "download", "share"],
            "passcode": "under the third stone",
            "expires_at": int(time.time()) + 600,
        },
    )
    assert made.status_code == 201, made.text
    link = made.json()
    with httpx.Client(base_url=service.url, timeout=60) as anybody:
        wrong = anybody.post("/v1/share-links/redeem", json={"token": link["token"]})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong_passcode")
        redeemed = anybody.post(
            "/v1/share-links/redeem",
            json={"token": link["token"], "passcode": "under the third stone"},
        )
        assert redeemed.status_code == 200, redeemed.text
        unknown = anybody.post("/v1/share-links/redeem", json={"token": "ul_" + "x" * 43})
        assert unknown.status_code == 404
    with connect(service.url, redeemed.json()["access_token"]) as holder:
        assert holder.get(f"/v1/documents/{document}/content").content == TEXT
        assert holder.post("/v1/documents", files={"file": ("a.txt", b"x")}).status_code == 403
        narrower = holder.post("/v1/share-links", json={"resource": document, "actions": ["read"]})
        assert narrower.status_code == 201, narrower.text
        direct = holder.post(
            "/v1/grants",
            json={
                "resource": document,
                "grantee": {"user": "else@orchard.example"},
                "actions": ["read"],
            },
        )
        assert (direct.status_code, direct.json()["error"]["code"]) == (403, "links_only")
        assert ann.delete(f"/v1/grants/{link['grant']['id']}").status_code == 204
        assert holder.get(f"/v1/documents/{document}").status_code == 401
    logged = (service.data_dir.parent / f"{service.data_dir.name}.log").read_text()
    for secret in (link["token"], redeemed.json()["access_token"], "under the third stone"):
        assert secret not in logged


@pytest.mark.parametrize(
    "body",
    [
        {"grantee": {}, "actions": ["read"]},
        {"grantee": {"user": "no address"}, "actions": ["read"]},
        {"grantee": {"user": "a@b.example", "tenant": True}, "actions": ["read"]},
        {"grantee": {"tenant": True}, "actions": []},
        {"grantee": {"tenant": True}, "actions": ["own"]},
        {"grantee": {"tenant": True}, "actions": ["read"], "fields": ["/a"]},
        {"grantee": {"tenant": True}, "actions": ["read"], "parts": {"pages": ["1"]}},
        {"grantee": {"tenant": True}, "actions": ["search"], "parts": {"pages": ["3-1"]}},
        {"grantee": {"tenant": True}, "actions": ["search"], "parts": {}},
        {"grantee": {"tenant": True}, "actions": ["read"], "expires_at": 1},
        {"grantee": {"tenant": True}, "actions": ["read"], "max_uses": 0},
        {"grantee": {"tenant": True}, "actions": ["read"], "purpose": "Any Thing"},
        {"grantee": {"tenant": True}, "actions": ["read"], "unknown": 1},
    ],
)
def test_hostile_terms_are_refused(ann: httpx.Client, body: dict[str, Any]) -> None:
    document = upload(ann, TEXT)
    refused = ann.post("/v1/grants", json={"resource": document, **body})
    assert refused.status_code in {400, 422}, refused.text
    assert ann.get("/v1/grants", params={"resource": document}).json()["data"] == []
