"""Mail is sent if and only if what causes it commits, and is kept no longer than until then."""

from collections.abc import Sequence
from datetime import datetime
from email import message_from_bytes
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.attempts import Attempts
from tests.conftest import MakeScope, Member
from tests.owner import past_policies
from undercroft.jobs.errors import JobFailedError
from undercroft.jobs.models import JobFailure
from undercroft.jobs.service import JobQueue
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import Message
from undercroft.kit.mail.outbox import OutboxFolder
from undercroft.kit.mail.protocol import Mailer, MailNotSentError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.mail.service import MailQueue
from undercroft.mail.tasks import MailTasks
from undercroft.vault.keys.repository import RotationRepository
from undercroft.vault.keys.service import KeyRing

MESSAGE = Message("ada@example.org", "Your code", "Your code is 492118.\n", {"X-Kind": "code"})
_AGE = "UPDATE outgoing_mail SET created_at = created_at - interval '25 hours'"


class ClosedMailer:
    """A mail server that takes nothing."""

    def __init__(self, *, permanent: bool) -> None:
        self.permanent = permanent

    async def send(self, message: Message, *, mail_id: UUID, dated: datetime) -> None:
        del message, mail_id, dated
        raise MailNotSentError("It is closed", "Open it.", permanent=self.permanent)


@pytest.fixture
async def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())


@pytest.fixture
def queue(keys: KeyRing) -> MailQueue:
    ids = IdSource()
    return MailQueue(keys, JobQueue(ids), ids)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def tasks(database: Database, keys: KeyRing, outbox: Path) -> MailTasks:
    return MailTasks(database, keys, OutboxFolder(outbox, "service@undercroft.test"))


@pytest.fixture
def attempts(database: Database, tasks: MailTasks) -> Attempts:
    return Attempts(database, tasks.handlers())


def with_mailer(attempts: Attempts, keys: KeyRing, mailer: Mailer) -> Attempts:
    return Attempts(attempts.database, MailTasks(attempts.database, keys, mailer).handlers())


async def post(database: Database, queue: MailQueue, scope: Member) -> UUID:
    async with database.transaction(scope) as transaction:
        return await queue.send(transaction, scope, MESSAGE)


async def kept(database: Database, scope: Member) -> Sequence[asyncpg.Record]:
    async with database.transaction(scope) as transaction:
        return await transaction.fetch(
            "SELECT m.id, m.sealed_message, k.id AS key_id FROM outgoing_mail AS m"
            " LEFT JOIN data_keys AS k ON k.id = m.data_key_id"
        )


async def count_keys(database: Database, scope: Member) -> int:
    async with database.transaction(scope) as transaction:
        return await transaction.fetchval("SELECT count(*) FROM data_keys")


async def as_owner(urls: DatabaseUrls, statement: str, *arguments: object) -> None:
    """Do what the service may not: whoever can write to the database's files can."""
    async with past_policies(urls, "outgoing_mail") as owner:
        assert await owner.execute(statement, *arguments) != "UPDATE 0"


async def test_it_is_sent_and_forgotten_with_its_key(
    database: Database, queue: MailQueue, attempts: Attempts, outbox: Path, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    mail_id = await post(database, queue, scope)
    assert await attempts.run_next(scope)
    (file,) = outbox.iterdir()
    sent = message_from_bytes(file.read_bytes())
    assert [sent["To"], sent["Subject"], sent["X-Kind"]] == ["ada@example.org", "Your code", "code"]
    assert sent["Message-ID"] == f"<{mail_id.hex}@undercroft.test>"
    assert sent.get_payload(decode=True) == b"Your code is 492118.\r\n"
    assert await kept(database, scope) == []
    assert await count_keys(database, scope) == 0
    assert not await attempts.run_next(scope)


async def test_what_did_not_happen_sends_nothing(
    database: Database, queue: MailQueue, attempts: Attempts, make_scope: MakeScope
) -> None:
    scope = await make_scope()

    async def fail() -> None:
        async with database.transaction(scope) as transaction:
            await queue.send(transaction, scope, MESSAGE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await kept(database, scope) == []
    assert not await attempts.run_next(scope)


async def test_nothing_of_it_can_be_read_in_the_database(
    database: Database, queue: MailQueue, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    await post(database, queue, scope)
    (row,) = await kept(database, scope)
    assert b"492118" not in row["sealed_message"]
    async with database.transaction(scope) as transaction:
        jobs = await transaction.fetchval("SELECT jsonb_agg(j)::text FROM jobs AS j")
    assert "492118" not in jobs
    assert "ada@" not in jobs


async def test_a_message_in_another_row_opens_for_nobody(
    database: Database, queue: MailQueue, attempts: Attempts, make_scope: MakeScope,
    database_urls: DatabaseUrls, outbox: Path,
) -> None:  # fmt: skip
    scope = await make_scope()
    first, second = [await post(database, queue, scope) for _ in range(2)]
    await as_owner(
        database_urls,
        "UPDATE outgoing_mail AS m SET (sealed_message, data_key_id) ="
        " (SELECT o.sealed_message, o.data_key_id FROM outgoing_mail AS o WHERE o.id = $2)"
        " WHERE m.id = $1",
        first,
        second,
    )
    with pytest.raises(DecryptionError):
        await attempts.run_next(scope)
    assert not outbox.exists()


async def test_another_try_is_the_same_message(
    database: Database, queue: MailQueue, attempts: Attempts, keys: KeyRing, outbox: Path,
    make_scope: MakeScope,
) -> None:  # fmt: skip
    scope = await make_scope()
    mail_id = await post(database, queue, scope)
    claim = await attempts.claim(scope)
    assert claim is not None
    with pytest.raises(JobFailedError) as failed:
        await with_mailer(attempts, keys, ClosedMailer(permanent=False)).run(claim)
    assert (failed.value.code, failed.value.permanent) == ("mail_not_sent", False)
    # The worker died after that, and another one took the job over.
    for state in ("running", "succeeded"):
        again = await attempts.claim(scope, state)
        if again is not None:
            await attempts.run(again)
    assert [file.name for file in outbox.iterdir()] == [f"{mail_id.hex}.eml"]


@pytest.mark.parametrize("permanent", [True, False])
async def test_a_refusal_for_good_is_said_to_be_one(
    database: Database, queue: MailQueue, attempts: Attempts, keys: KeyRing, make_scope: MakeScope,
    *, permanent: bool,
) -> None:  # fmt: skip
    scope = await make_scope()
    await post(database, queue, scope)
    claim = await attempts.claim(scope)
    assert claim is not None
    with pytest.raises(JobFailedError) as failed:
        await with_mailer(attempts, keys, ClosedMailer(permanent=permanent)).run(claim)
    assert failed.value.permanent is permanent
    assert len(await kept(database, scope)) == 1


async def test_what_is_given_up_is_forgotten(
    database: Database, queue: MailQueue, tasks: MailTasks, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    mail_id = await post(database, queue, scope)
    async with database.transaction(scope) as transaction:
        await tasks.give_up(
            transaction, scope, {"mail": mail_id.hex}, JobFailure("mail_not_sent", "It is closed.")
        )
    assert await kept(database, scope) == []
    assert await count_keys(database, scope) == 0


async def test_mail_of_more_than_a_day_ago_is_forgotten_in_every_tenant(
    database: Database, queue: MailQueue, tasks: MailTasks, database_urls: DatabaseUrls,
    make_scope: MakeScope,
) -> None:  # fmt: skip
    scopes = [await make_scope() for _ in range(2)]
    for scope in scopes:
        await post(database, queue, scope)
    await as_owner(database_urls, _AGE)
    fresh = await post(database, queue, scopes[0])
    assert await tasks.forget_overdue() == 2
    assert [row["id"] for row in await kept(database, scopes[0])] == [fresh]
    assert await kept(database, scopes[1]) == []
    assert await tasks.forget_overdue() == 0


async def test_mail_of_a_tenant_whose_key_was_destroyed_is_not_sent(
    database: Database, queue: MailQueue, attempts: Attempts, outbox: Path, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    await post(database, queue, scope)
    async with database.transaction(scope) as transaction:
        assert await RotationRepository().destroy_tenant_keys(transaction) == 1
    assert await attempts.run_next(scope)
    assert not outbox.exists()


async def test_another_tenant_sees_none(
    database: Database, queue: MailQueue, make_scope: MakeScope
) -> None:
    await post(database, queue, await make_scope())
    assert await kept(database, await make_scope()) == []
