"""What an entry says, and what it must not say."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
import rfc8785
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MakeScope
from tests.ledger.conftest import Parts, act
from undercroft.kit.database import Database
from undercroft.kit.lru import LruCache
from undercroft.kit.sql import NoRowError
from undercroft.ledger.leaves import canonical_object, commit, derive_salt, encode_leaf
from undercroft.ledger.models import Act, LogScope, Outcome, Subject
from undercroft.ledger.verification.entries import Entry, read_entry

ACTOR, OTHER, ENTRY, LOG, GRANT = (UUID(int=number) for number in range(1, 6))
SALT, ACTOR_SALT, OTHER_SALT = b"s" * 32, b"a" * 32, b"o" * 32
TIME = datetime(2026, 3, 4, 5, 6, 7, 80, UTC)


def test_a_leaf_names_people_and_things_by_commitments_alone() -> None:
    full = Act(
        "document.read",
        Subject("file-00000000000000000000000000000007", SALT),
        OTHER,
        version=2,
        outcome=Outcome.DENIED,
        grant_id=GRANT,
        purpose="treatment",
        on_behalf_of=OTHER,
        content=hashlib.sha256(b"secret").digest(),
    )
    leaf = encode_leaf(
        ENTRY, LOG, TIME, ACTOR, full, {ACTOR: ACTOR_SALT, OTHER: OTHER_SALT}, "req_1"
    )

    def derived(field: str, salt: bytes, value: bytes) -> str:
        own = hmac.digest(salt, f"entry_{ENTRY.hex}/{field}".encode(), "sha256")
        return hashlib.sha256(own + value).hexdigest()

    expected = {
        "action": "document.read",
        "actor": derived("actor", ACTOR_SALT, f"user_{ACTOR.hex}".encode()),
        "content": derived("content", SALT, hashlib.sha256(b"secret").digest()),
        "grant": derived("grant", SALT, f"grant_{GRANT.hex}".encode()),
        "id": f"entry_{ENTRY.hex}",
        "log": LOG.hex,
        "on_behalf_of": derived("on_behalf_of", OTHER_SALT, f"user_{OTHER.hex}".encode()),
        "outcome": "denied",
        "purpose": derived("purpose", SALT, b"treatment"),
        "resource": derived("resource", SALT, b"file-00000000000000000000000000000007"),
        "time": "2026-03-04T05:06:07.000080Z",
        "trace": "req_1",
        "v": 1,
        "version": 2,
    }
    # Canonical: sorted, nothing between, ASCII as it is.
    assert leaf == json.dumps(expected, separators=(",", ":"), sort_keys=True).encode()
    assert isinstance(read_entry(leaf, LOG.hex), Entry)
    for secret in (ACTOR.hex, OTHER.hex, GRANT.hex, "file-", "treatment", SALT.hex()):
        assert secret.encode() not in leaf


@given(
    st.dictionaries(
        st.text(st.characters(max_codepoint=127)),
        st.text() | st.integers(1 - 2**53, 2**53 - 1),
    )
)
def test_an_entrys_bytes_are_those_of_the_canonical_encoders_library(
    fields: dict[str, str | int],
) -> None:
    assert canonical_object(fields) == rfc8785.dumps({**fields})


def test_an_entry_never_holds_half_a_character() -> None:
    with pytest.raises(UnicodeEncodeError):
        canonical_object({"trace": "\ud800"})


async def test_an_act_alone_is_kept_as_it_is_among_others(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    full = act(
        1,
        owner_id=member.principal_id,
        version=2,
        outcome=Outcome.DENIED,
        grant_id=GRANT,
        purpose="treatment",
        on_behalf_of=member.principal_id,
    )
    with structlog.contextvars.bound_contextvars(request_id="req_7"):
        await parts.ledger.append_denial(member, full)
        await parts.ledger.append_denial(member, full, act(2))
    async with database.transaction(member) as transaction:
        alone, among, _ = await transaction.fetch(
            """
            SELECT
                tenant_id, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id, purpose,
                trace
            FROM ledger_pending ORDER BY ordinal
            """
        )
    assert alone == among
    assert None not in alone.values()


@pytest.mark.parametrize(
    "change",
    [
        {"action": "a" * 65},
        {"resource": ""},
        {"resource": "r" * 201},
        {"outcome": "maybe"},
        {"purpose": "p" * 65},
        {"trace": "t" * 65},
        {"leaf": b""},
        {"leaf": bytes(65536)},
    ],
)
async def test_the_database_refuses_what_is_no_entry(
    database: Database, make_scope: MakeScope, change: dict[str, object]
) -> None:
    member = await make_scope()
    entry = {"action": "a.b", "resource": "r", "outcome": "denied", "leaf": b"leaf"} | change
    names = ", ".join(entry)
    values = ", ".join(f"${number}" for number in range(2, len(entry) + 2))
    async with database.transaction(member) as transaction:
        with pytest.raises(asyncpg.CheckViolationError):
            await transaction.execute(
                f"INSERT INTO ledger_pending (tenant_id, id, occurred_at, actor_id, {names})"
                f" VALUES (current_tenant(), $1, now(), current_principal(), {values})",
                ENTRY,
                *entry.values(),
            )


def test_an_opened_entry_does_not_name_its_subject_in_another() -> None:
    salts = {ACTOR: ACTOR_SALT}
    same = Act("document.read", Subject("file-00000000000000000000000000000007", SALT), OTHER)
    leaves = [
        json.loads(encode_leaf(entry_id, LOG, TIME, ACTOR, same, salts, None))
        for entry_id in (ENTRY, OTHER)
    ]
    for field, salt, value in (
        ("actor", ACTOR_SALT, f"user_{ACTOR.hex}".encode()),
        ("resource", SALT, same.resource.reference.encode()),
    ):
        opening = derive_salt(salt, ENTRY, field)
        assert commit(opening, value) == leaves[0][field]
        assert commit(opening, value) != leaves[1][field]
        assert leaves[0][field] != leaves[1][field]


def test_a_commitment_is_a_hash_of_salt_and_value() -> None:
    assert commit(b"salt", b"value") == hashlib.sha256(b"saltvalue").hexdigest()
    assert commit(b"s" * 32, b"x") != commit(b"t" * 32, b"x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: act(action="read"),
        lambda: act(action="Document.read"),
        lambda: act(action="document.read\n"),
        lambda: act(action=f"a.{'b' * 63}"),
        lambda: act(version=0),
        lambda: act(purpose="to help Anna Example"),
        lambda: act(content=b"short"),
        lambda: Subject("file-1", b"short"),
        lambda: Subject("Anna Example", SALT),
        lambda: Subject("file-1\n", SALT),
        lambda: Subject("file-" + "1" * 200, SALT),
    ],
)
def test_what_cannot_be_logged_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()  # pyright: ignore[reportCallIssue] - one of the functions above


async def test_an_entry_carries_the_request_it_was_made_in(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    with structlog.contextvars.bound_contextvars(request_id="req_7"):
        await parts.ledger.append_denial(member, act(1, outcome=Outcome.DENIED))
    await parts.ledger.append_denial(member, act(2))
    async with database.transaction(member) as transaction:
        rows = await transaction.fetch(
            "SELECT trace, outcome, leaf FROM ledger_pending ORDER BY ordinal"
        )
    assert [(row["trace"], row["outcome"]) for row in rows] == [
        ("req_7", "denied"),
        (None, "allowed"),
    ]
    assert ["trace" in json.loads(row["leaf"]) for row in rows] == [True, False]


async def test_an_actor_who_is_no_user_of_the_tenant_cannot_act(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member, stranger = await make_scope(), await make_scope()
    nobody = LogScope(member.tenant_id)
    with pytest.raises(NoRowError):
        await parts.ledger.append_denial(nobody, act(1))
    async with database.transaction(member) as transaction:
        with pytest.raises(NoRowError):
            await parts.ledger.append(
                transaction, member, act(1, on_behalf_of=stranger.principal_id)
            )
        assert await parts.ledger.append(transaction, member) == []
        with pytest.raises(ValueError, match="too many"):
            await parts.ledger.append(transaction, member, *[act(1)] * 1001)


async def test_every_user_has_a_salt_of_their_own(
    database: Database, make_scope: MakeScope
) -> None:
    first = await make_scope()
    await make_scope(first.tenant_id)
    async with database.transaction(first) as transaction:
        rows = await transaction.fetch("SELECT ledger_salt FROM users")
    assert len({row["ledger_salt"] for row in rows}) == 2
    assert {len(row["ledger_salt"]) for row in rows} == {32}


def test_a_cache_forgets_what_was_not_used_for_longest() -> None:
    cache: LruCache[UUID, bytes] = LruCache(2)
    ids = [uuid4() for _ in range(3)]
    cache.put(ids[0], b"0")
    cache.put(ids[1], b"1")
    assert cache.get(ids[0]) == b"0"
    cache.put(ids[2], b"2")
    assert [cache.get(key) for key in ids] == [b"0", None, b"2"]
    cache.drop(ids[0])
    assert cache.get(ids[0]) is None
