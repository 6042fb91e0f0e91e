"""The ledger over HTTP: mirrored, proved and audited from outside, and numbered by a process that did not append."""

import asyncio
import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Service
from tests.ledger.conftest import act
from undercroft.identity.models import Principal
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.postgres.server import running_urls
from undercroft.ledger.merkle import hash_leaf
from undercroft.ledger.models import ENTRY_PREFIX, LogScope
from undercroft.ledger.service import Ledger
from undercroft.ledger.verification.entries import split_bundle
from undercroft.ledger.verification.notes import check_signature, parse_checkpoint, parse_key
from undercroft.ledger.verification.proofs import check_proof


def get(service: Service, key: str | None, path: str) -> httpx.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{service.url}{path}", headers=headers, timeout=60)


def do(service: Service, key: str, *numbers: int, **more: Any) -> list[str]:  # noqa: ANN401 - the fields of Act
    """Append entries from this process, which has no sequencer; their ids."""

    async def append() -> list[str]:
        urls = running_urls(service.data_dir)
        assert urls is not None
        clock = SystemClock()
        async with Database(urls.service, clock=clock, size=2) as database:
            ledger = Ledger(database, IdSource(), clock)
            identity = IdentityService(database, ledger, IdSource(), clock)
            actor: Principal = await identity.authenticate(key)
            async with database.transaction(actor) as transaction:
                acts = [act(number, **more) for number in numbers]
                ids = await ledger.append(transaction, actor, *acts)
        return [f"entry_{entry.hex}" for entry in ids]

    return asyncio.run(append())


@pytest.fixture(scope="module")
def member(service: Service) -> str:
    return service.make_key("ledgered", "ann@example.org")


@pytest.fixture(scope="module")
def admin(service: Service) -> str:
    return service.make_key("ledgered", "root@example.org", "admin")


def test_a_log_is_mirrored_and_proved_from_outside(service: Service, member: str) -> None:
    ids = do(service, member, *range(20))
    proof = get(service, member, f"/v1/audit/{ids[7]}/proof")
    assert proof.status_code == 200
    assert proof.headers["content-type"] == "text/plain; charset=utf-8"
    log = get(service, member, "/v1/ledger").json()
    assert log["object"] == "ledger"
    assert log["origin"] == f"undercroft.local/ledger/{log['id']}"
    key = parse_key(log["verifier_key"])

    public = get(service, None, f"/ledger/{log['id']}/checkpoint")
    assert public.headers["content-type"] == "text/plain; charset=utf-8"
    checkpoint = parse_checkpoint(public.content)
    check_signature(checkpoint, [key])
    size = checkpoint.size
    assert size >= 20
    suffix = f"000.p/{size}"
    bundle = get(service, member, f"/ledger/{log['id']}/tile/entries/{suffix}")
    assert bundle.headers["content-type"] == "application/octet-stream"
    assert "immutable" in bundle.headers["cache-control"]
    leaves, rest = split_bundle(bundle.content, size)
    assert (len(leaves), rest) == (size, 0)
    tile = get(service, member, f"/ledger/{log['id']}/tile/0/{suffix}").content
    assert tile == b"".join(map(hash_leaf, leaves))
    leaf = next(leaf for leaf in leaves if json.loads(leaf)["id"] == ids[7])
    check_proof(proof.content, leaf, [key], log["id"])
    inclusion = get(service, member, f"/v1/ledger/inclusion?index=3&size={size}").json()
    assert (inclusion["index"], inclusion["size"]) == (3, size)
    consistency = get(service, member, f"/v1/ledger/consistency?from=5&to={size}").json()
    assert (consistency["from"], consistency["to"]) == (5, size)


def test_a_stranger_reads_a_checkpoint_and_nothing_else(service: Service, member: str) -> None:
    log = get(service, member, "/v1/ledger").json()["id"]
    other = service.make_key("elsewhere", "eve@example.org", "admin")
    for path in (f"/ledger/{log}/tile/0/000.p/1", f"/ledger/{log}/tile/entries/000.p/1"):
        assert get(service, None, path).status_code == 401
        refused = get(service, other, path)
        assert refused.status_code == 404
        assert refused.headers["content-type"] == "application/problem+json"
    for path in (
        f"/ledger/{log}/tile/00/000.p/1",
        f"/ledger/{log}/tile/64/000",
        f"/ledger/{log}/tile/0/x000/000",
        f"/ledger/{log}/tile/entries/999",
        f"/ledger/{log}/tile/0/",
        f"/ledger/{log.upper()}x/checkpoint",
        f"/ledger/{'0' * 32}/checkpoint",
    ):
        assert get(service, member, path).status_code == 404, path


def test_the_audit_is_filtered_paged_and_exported(
    service: Service, member: str, admin: str
) -> None:
    start = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    ids = do(service, member, 1001, 1002, 1003, action="record.read", purpose="care")
    assert get(service, member, f"/v1/audit/{ids[-1]}/proof").status_code == 200
    for key in (member, admin):
        page = get(service, key, f"/v1/audit?action=record.read&from={start}&limit=2").json()
        assert [row["id"] for row in page["data"]] == ids[:0:-1]
        assert page["has_more"] is True
        query = f"action=record.read&from={start}"
        rest = get(service, key, f"/v1/audit?{query}&after={page['last_id']}").json()
        assert [row["id"] for row in rest["data"]] == ids[:1]
        assert rest["data"][0]["proof"] == f"/v1/audit/{ids[0]}/proof"
        lines = get(service, key, f"/v1/audit/export?format=jsonl&{query}").text.splitlines()
        assert [json.loads(line)["id"] for line in lines] == ids[::-1]
        text = get(service, key, f"/v1/audit/export?format=csv&{query}").text
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["id"] for row in rows] == ids[::-1]
        assert {row["purpose"] for row in rows} == {"care"}
    row = get(service, member, f"/v1/audit/{ids[0]}").json()
    assert row["resource"] == f"file-{1001:032x}"
    assert json.loads(row["canonical"])["id"] == ids[0]
    assert row["openings"]["actor"]["value"] == row["actor"]
    nobody = get(service, member, "/v1/audit?actor=ann").json()
    assert nobody["data"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=yesterday", 400),
        ("from=2026-01-01T00:00:00", 400),
        ("to=9999-12-31T23:59:59-14:00", 400),
        ("limit=0", 400),
        ("action=%00", 400),
        ("action=grant.created", 400),
        ("after=entry_1", 404),
        (f"after=entry_{'0' * 32}", 404),
    ],
)
def test_what_cannot_be_listed_is_told(
    service: Service, member: str, query: str, status: int
) -> None:
    answer = get(service, member, f"/v1/audit?{query}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_what_is_not_there_is_not_found(service: Service, member: str) -> None:
    for path in ("entry_1", f"entry_{'0' * 32}", f"entry_{'0' * 32}/proof"):
        assert get(service, member, f"/v1/audit/{path}").status_code == 404
    assert get(service, member, "/v1/ledger/inclusion?index=99999999").status_code == 400
    assert get(service, member, "/v1/ledger/consistency?from=9&to=3").status_code == 400


class PastClock:
    """Says what time it was then."""

    def __init__(self, ago: timedelta) -> None:
        self._ago = ago

    def now(self) -> datetime:
        return SystemClock().now() - self._ago

    def monotonic(self) -> float:
        return SystemClock().monotonic()


def test_a_log_that_stands_still_shows_in_readiness_and_metrics(
    service: Service, member: str
) -> None:
    """The log is locked as a sequencer locks it that has it and does not go on, and an entry waits from before."""

    def checks() -> tuple[int, str]:
        answer = get(service, None, "/readyz")
        return answer.status_code, answer.json()["checks"]["ledger"]

    def pending() -> tuple[float, float]:
        families = text_string_to_metric_families(get(service, None, "/metrics").text)
        values = {family.name: family.samples[0].value for family in families if family.samples}
        return (
            values["undercroft_ledger_pending_entries"],
            values["undercroft_ledger_oldest_pending_seconds"],
        )

    async def stand_still() -> None:
        urls = running_urls(service.data_dir)
        assert urls is not None
        async with Database(urls.service, clock=SystemClock(), size=2) as database:
            late = Ledger(database, IdSource(), PastClock(timedelta(seconds=40)))
            actor = await IdentityService(database, late, IdSource(), SystemClock()).authenticate(
                member
            )
            async with database.transaction(LogScope(actor.tenant_id)) as holding:
                await holding.fetch("SELECT lock_ledger()")
                async with database.transaction(actor) as transaction:
                    (entry,) = await late.append(transaction, actor, act(1))
                path = f"/v1/audit/{render_id(ENTRY_PREFIX, entry)}/proof"
                early = await asyncio.to_thread(get, service, member, path)
                assert (early.status_code, early.headers["Retry-After"]) == (503, "1")
                assert early.json()["error"]["code"] == "not_yet_sequenced"
                status, told = await asyncio.to_thread(checks)
                assert status == 503
                assert re.fullmatch(r"an entry has waited \d+ seconds for its number", told)
                count, age = await asyncio.to_thread(pending)
                assert count >= 1
                assert age >= 40

    asyncio.run(stand_still())
    deadline = monotonic() + 30
    while checks() != (200, "ok"):
        assert monotonic() < deadline
    assert pending()[1] < 40


def test_every_row_says_who_acted_and_links_to_its_proof(service: Service) -> None:
    ann = service.make_key("linked", "ann@example.org")
    root = service.make_key("linked", "root@example.org", "admin")
    with service.client(ann) as client:
        store = client.vector_stores.create(name="papers")
        client.vector_stores.update(store.id, name="letters")
        made = client.responses.create(model="extractive", input="What is ground?")
        client.responses.retrieve(made.id)
        client.responses.delete(made.id)
    for path in (f"/v1/vector_stores/{store.id}", f"/v1/responses/{made.id}", "/v1/audit"):
        get(service, root, path)
    log = get(service, ann, "/v1/ledger").json()
    last = get(service, root, "/v1/audit?action=audit.read").json()
    deadline = monotonic() + 30
    while not last["data"]:
        assert monotonic() < deadline
        last = get(service, root, "/v1/audit?action=audit.read").json()

    rows = get(service, root, "/v1/audit?limit=100").json()["data"]
    operators = [row["action"] for row in rows if row["actor"] == "operator"]
    assert operators[::-1] == [
        *("tenant.create", "user.create", "key.create"),
        *("user.create", "key.create"),
    ]
    refused = {row["action"]: row["resource"] for row in rows if row["outcome"] == "denied"}
    # The response was gone by then: an id of nothing is refused of the tenant's.
    assert refused.pop("collection.read") == store.id
    assert refused.pop("response.read").startswith("tenant_")
    assert not refused
    own = [row["action"] for row in get(service, ann, "/v1/audit?limit=100").json()["data"]]
    for action in ("user.create", "key.create", "collection.read", "response.delete"):
        assert action in own
    for row in rows:
        leaf = get(service, root, f"/v1/audit/{row['id']}").json()["canonical"].encode()
        assert json.loads(leaf)["action"] == row["action"]
        proof = get(service, root, row["proof"])
        check_proof(proof.content, leaf, [parse_key(log["verifier_key"])], log["id"])
