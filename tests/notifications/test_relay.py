"""What happens is told: once, if it was committed, to whoever takes it, in what its schema names and nothing else."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.conftest import MakeScope, Member
from tests.identity.accounts.conftest import CHEAP
from tests.notifications.conftest import Post
from tests.servers.webhook_receiver import Receiver
from tests.sharing.consents.conftest import READ, Practice, open_practice
from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource, render_id
from undercroft.mail.service import MailQueue
from undercroft.notifications.endpoints import IssuedSecret
from undercroft.notifications.events import EVENT_TYPES, EVENTS, Fact, render_event
from undercroft.notifications.relay import EventRelay
from undercroft.notifications.repository import EventRepository
from undercroft.notifications.service import Notifications
from undercroft.sharing.links.models import LinkTerms
from undercroft.sharing.links.service import ShareLinks
from undercroft.sharing.models import (
    Ending,
    GrantAction,
    Grantee,
    GranteeKind,
    GrantLimits,
    Invitee,
    Resource,
    ResourceKind,
    Terms,
    Way,
)
from undercroft.sharing.requests.models import Wish
from undercroft.sharing.requests.service import AccessRequests
from undercroft.sharing.uses import GrantUses
from undercroft.vault.comments.models import COMMENT_PREFIX


@dataclass(frozen=True, slots=True)
class Told:
    """A practice of which a receiver is told everything."""

    practice: Practice
    requests: AccessRequests
    post: Post
    relay: EventRelay
    receiver: Receiver
    endpoint: IssuedSecret

    async def tell(self) -> list[tuple[str, dict[str, Any]]]:
        """Deliver what was noted, and answer what came, as verified."""
        while await self.relay.relay():
            pass
        heard: list[tuple[str, dict[str, Any]]] = []
        while await self.post.attempts.run_next(self.practice.ann):
            received = self.receiver.next_message()
            read = Webhook(self.endpoint.secret).verify(received.body.encode(), received.headers)
            heard.append((read["type"], read["data"]))
        return heard

    async def types(self) -> list[str]:
        return sorted(name for name, _ in await self.tell())


@pytest.fixture
async def told(post: Post, receiver: Receiver, tmp_path: Path, make_scope: MakeScope) -> Told:
    practice = await open_practice(post.database, tmp_path, make_scope)
    cabinet, ids = practice.cabinet, IdSource()
    requests = AccessRequests(
        practice.database, practice.grants, cabinet.keys, cabinet.ledger, ids, SystemClock()
    )
    # Its papers are not what most tests are about.
    taken = sorted(name for name in EVENT_TYPES if not name.startswith("document."))
    endpoint = await post.endpoints.create(practice.ann, receiver.url("take"), taken)
    relay = EventRelay(post.stepped, Notifications(post.database, JobQueue(ids), ids))
    return Told(practice, requests, post, relay, receiver, endpoint)


def user(member: Member) -> str:
    return render_id("user_", member.principal_id)


def test_every_event_has_a_schema() -> None:
    assert set(EVENTS) == EVENT_TYPES


async def test_grants_are_told_from_beginning_to_end(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document()
    grant = await practice.share(document, practice.cem, READ)
    said = {
        "grant": render_id("grant_", grant.id),
        "resource": render_id("file-", document.id),
        "grantor": user(practice.ann),
    }
    assert await told.tell() == [("grant.created", {**said, "expires_at": None})]
    await practice.grants.revoke(practice.ann, grant.id)
    assert await told.tell() == [("grant.revoked", {**said, "reason": Ending.REVOKED})]
    await practice.grants.revoke(practice.ann, grant.id)
    assert await told.tell() == []


async def test_the_last_use_is_told_and_that_it_was_cut(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document()
    grant = await practice.share(document, practice.cem, replace(READ, max_uses=2))
    way = Way((GrantLimits(grant.id, is_counted=True),))
    assert await told.types() == ["grant.created"]
    for expected in ([], ["grant.used_up"]):
        async with practice.database.transaction(practice.cem) as transaction:
            await GrantUses().count(transaction, way)
        assert await told.types() == expected
    for expected in (["grant.cut"], []):
        await practice.grants.revoke(practice.ann, grant.id)
        assert await told.types() == expected


async def test_an_end_that_only_the_database_sees_is_told(told: Told) -> None:
    practice = told.practice
    document, group_id = await practice.put_document(), IdSource().new()
    tenant_id, member_id = practice.ann.tenant_id, practice.cem.principal_id
    await practice.execute(
        "INSERT INTO groups (id, tenant_id, name) VALUES ($1, $2, 'Readers')", group_id, tenant_id
    )
    await practice.execute(
        "INSERT INTO group_members (tenant_id, group_id, user_id) VALUES ($1, $2, $3)",
        tenant_id,
        group_id,
        member_id,
    )
    sharing = Terms(frozenset({GrantAction.READ, GrantAction.SHARE}))
    readers = Grantee(GranteeKind.GROUP, group_id)
    await practice.grants.create(practice.ann, document, readers, sharing)
    shared_on = await practice.share(document, practice.dee, READ, practice.cem)
    await told.tell()
    await practice.execute("DELETE FROM group_members WHERE user_id = $1", member_id)
    [(name, data)] = await told.tell()
    assert (name, data["reason"]) == ("grant.revoked", Ending.LEFT_GROUP)
    assert data["grant"] == render_id("grant_", shared_on.id)


async def test_links_are_told(told: Told) -> None:
    practice, hasher, ids = told.practice, PasswordHasher(CHEAP), IdSource()
    keys = practice.cabinet.keys
    mail = MailQueue(keys, JobQueue(ids), ids)
    links = ShareLinks(
        practice.database, practice.grants, practice.cabinet.ledger, keys, hasher, mail, ids
    )
    document = await practice.put_document()
    link = await links.create(practice.ann, document, LinkTerms(READ, is_one_time=True))
    said = {
        "share_link": render_id("link_", link.id),
        "grant": render_id("grant_", link.grant.id),
    }
    heard = dict(await told.tell())
    assert set(heard) == {"grant.created", "share_link.created"}
    assert heard["share_link.created"] == said
    await links.redeem(link.token, None, None)
    assert dict(await told.tell()) == {
        "share_link.redeemed": {**said, "redemptions": 1},
        "share_link.exhausted": said,
    }
    hasher.close()


async def test_documents_are_told_from_upload_to_erasure(told: Told) -> None:
    practice = told.practice
    papers = sorted(name for name in EVENT_TYPES if name.startswith("document."))
    endpoint = await told.post.endpoints.create(practice.ann, told.receiver.url("take"), papers)
    told = replace(told, endpoint=endpoint)
    document = await practice.put_document()
    said = {"document": render_id("file-", document.id), "owner": user(practice.ann)}
    assert await told.tell() == [("document.created", said)]
    for change, name in (
        ("UPDATE documents SET revision = revision + 1 WHERE id = $1", None),
        (
            "UPDATE documents SET deleted_at = now(), purge_at = now() + interval '1 day' WHERE id = $1",
            "document.deleted",
        ),
        (
            "UPDATE documents SET deleted_at = NULL, purge_at = NULL WHERE id = $1",
            "document.restored",
        ),
        ("DELETE FROM documents WHERE id = $1", "document.erased"),
    ):
        await practice.execute(change, document.id)
        assert await told.tell() == ([] if name is None else [(name, said)])


async def test_what_is_rolled_back_is_told_to_nobody(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document()

    async def fail() -> None:
        async with practice.database.transaction(practice.ann) as transaction:
            await practice.grants.create_in(
                transaction, practice.ann, document, Invitee("guest@example.org"), READ
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await told.tell() == []
    assert await practice.cabinet.count(practice.ann, "letters") == 0


async def test_what_no_webhook_takes_is_not_noted(told: Told) -> None:
    practice = told.practice
    await told.post.endpoints.delete(practice.ann, told.endpoint.endpoint.id)
    await practice.share(await practice.put_document(), practice.cem, READ)
    assert await practice.cabinet.count(practice.ann, "pending_events") == 0


async def test_asking_is_told_by_a_worker_and_not_by_the_request(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document()
    request_id = await told.requests.ask(practice.cem, document, Wish(READ, "May I?"))
    absent = Resource(ResourceKind.DOCUMENT, IdSource().new())
    await told.requests.ask(practice.cem, absent, Wish(READ, "May I?"))
    assert await practice.cabinet.count(practice.ann, "pending_events") == 0
    assert await practice.cabinet.count(practice.ann, "letters") == 0
    assert await told.requests.announce() == 1
    assert await told.requests.announce() == 0
    [(name, data)] = await told.tell()
    assert name == "access_request.created"
    assert data.pop("expires_at") > 0
    said = {"access_request": render_id("request_", request_id), "owner": user(practice.ann)}
    assert data == said
    approved = await told.requests.approve(practice.ann, request_id)
    assert approved.grant_id is not None
    heard = dict(await told.tell())
    grant = render_id("grant_", approved.grant_id)
    assert heard["access_request.approved"] == {**said, "grant": grant}
    assert set(heard) == {"access_request.approved", "grant.created"}


async def test_denied_and_expired_requests_are_told(told: Told) -> None:
    practice = told.practice
    first, second = await practice.put_document(), await practice.put_document()
    denied = await told.requests.ask(practice.cem, first, Wish(READ, None))
    await told.requests.deny(practice.ann, denied)
    # Its times cannot be changed: so it is made as one that was asked long ago.
    await practice.execute(
        "INSERT INTO access_requests (id, tenant_id, asker_id, owner_id, document_id, sealed_content, created_at,"
        " expires_at) VALUES ($1, $2, $3, $4, $5, '', now() - interval '31 days', now() - interval '1 day')",
        IdSource().new(),
        practice.ann.tenant_id,
        practice.cem.principal_id,
        practice.ann.principal_id,
        second.id,
    )
    assert await told.requests.expire() == 1
    assert await told.types() == ["access_request.denied", "access_request.expired"]


async def test_consents_are_told(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document(about=practice.bob)
    notice = await practice.publish()
    consent = (await practice.consents.ask(practice.ann, notice.id, document)).consent
    assert await told.tell() == [
        (
            "consent.asked",
            {
                "consent": render_id("consent_", consent.id),
                "subject": user(practice.bob),
                "controller": user(practice.ann),
            },
        )
    ]
    await practice.consents.give(practice.bob, consent.id, notice.version)
    await practice.consents.renew(practice.bob, consent.id, notice.version)
    await practice.consents.withdraw(practice.bob, consent.id)
    other = (await practice.consents.ask(practice.ann, notice.id, document)).consent
    await practice.consents.refuse(practice.bob, other.id)
    assert await told.types() == [
        "consent.asked",
        "consent.given",
        "consent.refused",
        "consent.renewed",
        "consent.withdrawn",
    ]


async def test_a_comment_is_told_without_a_word_of_it(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document()
    comment_id, words = IdSource().new(), b"The mill is sold."
    await practice.execute(
        "INSERT INTO document_comments (id, tenant_id, document_id, document_version, author_id, sealed_text)"
        " VALUES ($1, $2, $3, 1, $4, $5)",
        comment_id,
        practice.ann.tenant_id,
        document.id,
        practice.cem.principal_id,
        words,
    )
    async with practice.database.transaction(practice.ann) as transaction:
        noted = await transaction.fetchval(
            "SELECT string_agg(p::text, ' ') FROM pending_events AS p"
        )
    assert words.decode() not in noted
    # As bytes are spelt in JSON.
    assert words.hex() not in noted
    assert comment_id.hex in noted.replace("-", "")
    assert await told.tell() == [
        (
            "comment.created",
            {
                "comment": render_id(COMMENT_PREFIX, comment_id),
                "document": render_id("file-", document.id),
                "author": user(practice.cem),
            },
        )
    ]


async def test_guests_and_their_removal_are_told(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document()
    await practice.grants.create(practice.ann, document, Invitee("guest@example.org"), READ)
    heard = dict(await told.tell())
    assert set(heard) == {"grant.created", "user.created"}
    assert (heard["user.created"]["kind"], heard["user.created"]["role"]) == ("guest", "member")
    await practice.execute("DELETE FROM users WHERE email = $1", "guest@example.org")
    assert await told.tell() == [
        ("user.removed", {"user": heard["user.created"]["user"], "kind": "guest"})
    ]


async def test_another_tenant_is_told_nothing(
    told: Told, make_scope: MakeScope, receiver: Receiver
) -> None:
    other = await make_scope()
    await told.post.endpoints.create(other, receiver.url("take"), ["grant.created"])
    await told.practice.share(await told.practice.put_document(), told.practice.cem, READ)
    assert await told.types() == ["grant.created"]
    assert not await told.post.attempts.run_next(other)


async def test_two_workers_tell_it_once(told: Told) -> None:
    practice = told.practice
    for _ in range(5):
        await practice.share(await practice.put_document(), practice.cem, READ)
    counts = await asyncio.gather(told.relay.relay(), told.relay.relay())
    assert sum(counts) == 5
    assert await told.types() == ["grant.created"] * 5


async def note(told: Told, count: int, days_ago: int = 0) -> None:
    """Let something have happened so often, and so long ago."""
    await told.post.as_owner(
        "INSERT INTO pending_events (tenant_id, event_type, facts, happened_at)"
        " SELECT $1, 'user.removed', jsonb_build_object('user', gen_random_uuid(), 'kind', 'guest'),"
        " now() - make_interval(days => $3) FROM generate_series(1, $2)",
        told.practice.ann.tenant_id,
        count,
        days_ago,
    )


async def test_one_round_tells_all_there_is_batch_by_batch(told: Told) -> None:
    await note(told, 250)
    assert await told.relay.relay() == 250
    assert await told.practice.cabinet.count(told.practice.ann, "pending_events") == 0


async def test_no_more_than_a_batch_is_taken_whatever_the_table_was_taken_for(told: Told) -> None:
    practice = told.practice
    await note(told, 1)
    await told.post.as_owner("ANALYZE pending_events")
    await note(told, 250)
    async with practice.database.transaction(practice.ann) as transaction:
        await transaction.execute(
            "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
        )
        assert len(await EventRepository().take_events(transaction, 100)) == 100


async def test_a_tenant_with_a_backlog_does_not_keep_the_others(
    told: Told, make_scope: MakeScope, receiver: Receiver
) -> None:
    practice, other = told.practice, await make_scope()
    await told.post.endpoints.create(other, receiver.url("take"), ["user.created"])
    await note(told, 250)
    await make_scope(other.tenant_id)
    async with practice.database.statement_without_scope() as connection:
        listed = await EventRepository().list_tenants(connection, 100)
    assert listed == [practice.ann.tenant_id, other.tenant_id]


async def test_what_no_worker_tells_for_thirty_days_is_forgotten(told: Told) -> None:
    practice = told.practice
    document = await practice.put_document()
    await note(told, 12, days_ago=31)
    await note(told, 3, days_ago=29)
    for waiting in (12 + 3 + 1 - 10, 3 + 2, 3 + 3):
        await practice.share(document, practice.cem, READ)
        assert await practice.cabinet.count(practice.ann, "pending_events") == waiting


async def test_what_a_worker_dies_over_is_told_later(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice = told.practice
    await practice.share(await practice.put_document(), practice.cem, READ)

    async def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # As late as can be: everything was written, and nothing committed.
        patch.setattr(Notifications, "_enqueue", die)
        with pytest.raises(KeyboardInterrupt):
            await told.relay.relay()
    assert await told.types() == ["grant.created"]


@pytest.mark.parametrize(
    ("event_type", "facts"),
    [
        ("grant.bought", {}),
        ("user.removed", {"user": IdSource().new().hex, "kind": "guest", "email": "a@example.org"}),
        ("user.removed", {"user": "Ada", "kind": "guest"}),
        ("consent.given", {"consent": IdSource().new().hex}),
    ],
)
def test_what_no_schema_names_is_not_told(event_type: str, facts: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        render_event(event_type, facts)


def test_the_documentation_has_every_event_with_its_fields() -> None:
    text = Path("docs/webhooks.md").read_text(encoding="utf-8")
    section = text.partition("\n## Events\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `") and "." in line[:40]]
    expected = [
        f"| `{name}` | {schema.when} | {', '.join(f'`{field}`' for field in schema.fields)} |"
        for name, schema in sorted(EVENTS.items())
    ]
    assert rows == expected
    assert {fact for schema in EVENTS.values() for fact in schema.fields.values()} == set(Fact)
