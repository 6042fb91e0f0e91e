"""Documents under grants: each act is allowed by exactly its action, on record with its grant, and by nothing else."""

import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.documents import make_documents, make_trash, make_versions
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    PageRange,
    Parts,
    Resource,
    ResourceKind,
    Terms,
)
from undercroft.sharing.service import GrantService
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DocumentChanges
from undercroft.vault.service import DocumentService
from undercroft.vault.trash import Trash
from undercroft.vault.usage.errors import OwnerQuotaExceededError
from undercroft.vault.usage.models import Quotas
from undercroft.vault.versions import VersionService

CONTENT = b"The mill has stood empty since 1921."
PARTS = Parts((PageRange(1, 2),))


@dataclass(frozen=True, slots=True)
class Room:
    """Ann has a document with two versions; Bob is her colleague."""

    database: Database
    documents: DocumentService
    versions: VersionService
    trash: Trash
    grants: GrantService
    ann: Member
    bob: Member
    document_id: UUID

    async def share(self, *actions: GrantAction, **terms: object) -> Grant:
        """Of Ann's document to Bob."""
        parts = PARTS if set(actions) == {GrantAction.READ_PARTS} else None
        given = replace(Terms(frozenset(actions), parts=parts), **terms)  # pyright: ignore[reportArgumentType] - by name
        resource = Resource(ResourceKind.DOCUMENT, self.document_id)
        grantee = Grantee(GranteeKind.USER, self.bob.principal_id)
        return await self.grants.create(self.ann, resource, grantee, given)

    async def acts(self) -> list[tuple[str, str, UUID, UUID | None, UUID | None, str | None]]:
        """What Bob did and was refused, as the ledger has it."""
        async with self.database.transaction(self.ann) as transaction:
            rows = await transaction.fetch(
                "SELECT action, outcome, actor_id, owner_id, grant_id, purpose FROM ledger_pending"
                " WHERE actor_id = $1 ORDER BY xid, ordinal",
                self.bob.principal_id,
            )
        return [tuple(row) for row in rows]

    async def add_version(self, scope: Member, content: bytes) -> int:
        """Of the document, by anybody."""
        incoming = await self.versions._intake.read(scope, io.BytesIO(content))
        try:
            document = await self.versions.add(scope, self.document_id, incoming, "a.txt", None)
        finally:
            await incoming.close()
        return document.version

    async def download(self, scope: Member) -> bytes:
        """All of its bytes."""
        _, blocks = await self.documents.read(scope, self.document_id)
        return b"".join([block async for block in blocks])


async def make_room(
    database: Database, tmp_path: Path, make_scope: MakeScope, quotas: Quotas | None = None
) -> Room:
    ids = IdSource()
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), ids)
    documents = make_documents(database, tmp_path, keys, quotas=quotas)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    made = await documents.import_file(ann, io.BytesIO(b"Once."), "mill.txt", "user_data")
    ledger = Ledger(database, ids, SystemClock())
    people = IdentityService(database, ledger, ids, SystemClock())
    grants = GrantService(database, ledger, ids, people)
    versions = make_versions(documents)
    room = Room(database, documents, versions, make_trash(documents), grants, ann, bob, made.id)
    await room.add_version(ann, CONTENT)
    return room


@pytest.fixture
async def room(database: Database, tmp_path: Path, make_scope: MakeScope) -> Room:
    return await make_room(database, tmp_path, make_scope)


def whole(room: Room) -> Awaitable[object]:
    return room.versions.read(room.bob, room.document_id, None, lambda _: (0, 4))


async def details(room: Room) -> None:
    """Whoever may do anything with it knows of it; only who may read it sees all."""
    document = await room.documents.get(room.bob, room.document_id)
    if not document.access.is_whole:
        raise NotGrantedError(GrantAction.READ)


OPERATIONS: dict[str, tuple[Callable[[Room], Awaitable[object]], GrantAction | None]] = {
    "details": (details, GrantAction.READ),
    "versions": (lambda r: r.versions.list_versions(r.bob, r.document_id, limit=9), GrantAction.READ),
    "version": (lambda r: r.versions.get(r.bob, r.document_id, 2), GrantAction.READ),
    "file": (lambda r: r.download(r.bob), GrantAction.DOWNLOAD),
    "content": (whole, GrantAction.DOWNLOAD),
    "rename": (
        lambda r: r.documents.update(r.bob, r.document_id, DocumentChanges(name="b"), None),
        GrantAction.WRITE,
    ),
    "new version": (lambda r: r.add_version(r.bob, b"Anew."), GrantAction.WRITE),
    "seal": (
        lambda r: r.documents.update(r.bob, r.document_id, DocumentChanges(is_sealed=True), None),
        None,
    ),
    "earlier version": (lambda r: r.versions.restore(r.bob, r.document_id, 1, None), None),
    "trash": (lambda r: r.trash.put(r.bob, r.document_id), None),
    "restore": (lambda r: r.trash.restore(r.bob, r.document_id), None),
    "erase": (lambda r: r.documents.delete(r.bob, r.document_id), None),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
async def test_each_act_is_allowed_by_its_action_and_by_no_other(room: Room, name: str) -> None:
    operation, action = OPERATIONS[name]
    with pytest.raises(NotFoundError):
        await operation(room)
    for other in set(GrantAction) - {action}:
        grant = await room.share(other)
        with pytest.raises(NotGrantedError):
            await operation(room)
        await room.grants.revoke(room.ann, grant.id)
        with pytest.raises(NotFoundError):
            await operation(room)
    if action is not None:
        await room.share(action)
        await operation(room)


@pytest.mark.parametrize(
    "terms",
    [
        {"not_before": datetime.now(UTC) + timedelta(hours=1)},
        {
            "not_before": datetime.now(UTC) - timedelta(hours=2),
            "expires_at": datetime.now(UTC) - timedelta(hours=1),
        },
        {"purpose": "audit"},
    ],
    ids=["not yet", "no more", "for another purpose"],
)
async def test_a_grant_out_of_its_time_or_purpose_is_none(
    room: Room, terms: dict[str, object]
) -> None:
    await room.share(GrantAction.READ, GrantAction.DOWNLOAD, GrantAction.WRITE, **terms)
    for name, (operation, _) in OPERATIONS.items():
        with pytest.raises(NotFoundError):
            await operation(room)
        assert name


async def test_what_is_done_is_on_record_with_its_grant_and_purpose(room: Room) -> None:
    actions = (GrantAction.READ, GrantAction.DOWNLOAD, GrantAction.WRITE)
    grant = await room.share(*actions, purpose="audit")
    bob = replace(room.bob, purpose="audit")
    await room.download(bob)
    await room.documents.update(bob, room.document_id, DocumentChanges(name="b"), None)
    await room.add_version(bob, b"Anew.")
    with pytest.raises(NotGrantedError):
        await room.documents.delete(bob, room.document_id)
    people = (room.bob.principal_id, room.ann.principal_id)
    assert await room.acts() == [
        ("document.read", "allowed", *people, grant.id, "audit"),
        ("document.update", "allowed", *people, grant.id, "audit"),
        ("document.version", "allowed", *people, grant.id, "audit"),
        ("document.delete", "denied", *people, None, None),
    ]


async def test_history_is_the_owners_alone(room: Room) -> None:
    await room.share(*set(GrantAction) - {GrantAction.READ_PARTS})
    shown = await room.versions.list_versions(room.bob, room.document_id, limit=9)
    assert [version.number for version in shown] == [2]
    for attempt in (
        room.versions.get(room.bob, room.document_id, 1),
        room.versions.read(room.bob, room.document_id, 1, lambda _: (0, 1)),
    ):
        with pytest.raises(NotFoundError):
            await attempt
    assert len(await room.versions.list_versions(room.ann, room.document_id, limit=9)) == 2


async def test_what_is_in_the_trash_is_the_owners_alone(room: Room) -> None:
    await room.share(*set(GrantAction) - {GrantAction.READ_PARTS})
    await room.trash.put(room.ann, room.document_id)
    for name, (operation, _) in OPERATIONS.items():
        with pytest.raises(NotFoundError):
            await operation(room)
        assert name
    await room.trash.restore(room.ann, room.document_id)
    assert await room.download(room.bob) == CONTENT


async def test_of_the_last_download_there_is_one(room: Room) -> None:
    await room.share(GrantAction.DOWNLOAD, max_uses=2)
    assert await room.download(room.bob) == CONTENT
    await whole(room)
    with pytest.raises(NotFoundError):
        await room.download(room.bob)


async def test_asking_for_no_bytes_is_no_download(room: Room) -> None:
    await room.share(GrantAction.DOWNLOAD, max_uses=1)
    await room.versions.read(room.bob, room.document_id, None, lambda _: None)
    assert await room.download(room.bob) == CONTENT


async def test_what_another_brings_is_the_owners_content(room: Room) -> None:
    await room.share(GrantAction.WRITE)
    await room.add_version(room.bob, b"Anew.")
    async with room.database.transaction(room.ann) as transaction:
        owners = await transaction.fetch("SELECT owner_id, byte_size FROM user_usage")
    assert {row["owner_id"]: row["byte_size"] for row in owners} == {
        room.ann.principal_id: len(b"Once.") + len(CONTENT) + len(b"Anew.")
    }
    await room.documents.delete(room.ann, room.document_id)
    async with room.database.transaction(room.ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM blobs") == 0


async def test_it_counts_in_the_owners_quota_of_which_nothing_is_told(
    database: Database, tmp_path: Path, make_scope: MakeScope
) -> None:
    room = await make_room(database, tmp_path, make_scope, Quotas(None, 50))
    await room.share(GrantAction.WRITE)
    with pytest.raises(OwnerQuotaExceededError) as refused:
        await room.add_version(room.bob, b"Twelve bytes")
    assert not any(character.isdigit() for character in refused.value.message)


async def test_a_stranger_is_told_the_same_of_it_as_of_nothing(
    room: Room, make_scope: MakeScope
) -> None:
    stranger = await make_scope()
    messages: set[str] = set()
    for scope, document_id in (
        (room.bob, room.document_id),
        (stranger, room.document_id),
        (room.ann, IdSource().new()),
    ):
        with pytest.raises(UndercroftError) as refused:
            await room.documents.read(scope, document_id)
        messages.add(refused.value.message.replace(document_id.hex, "ID"))
    assert len(messages) == 1
