"""People are written to about what they are to do something about: at most once an hour, whoever it is."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MakeScope, Member
from tests.notifications.conftest import Post
from tests.sharing.consents.conftest import READ, Practice, open_practice
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import Message
from undercroft.mail.models import open_message
from undercroft.mail.repository import MailRepository
from undercroft.mail.service import MailQueue
from undercroft.notifications.letters import Letters, write_letter
from undercroft.notifications.models import LetterKind
from undercroft.sharing.models import Invitee
from undercroft.sharing.requests.models import Wish
from undercroft.sharing.requests.service import AccessRequests
from undercroft.vault.keys.repository import RotationRepository

WISH = Wish(READ, "May I read the findings?")


@dataclass(frozen=True, slots=True)
class Mailroom:
    """A practice whose letters the test opens instead of sending them."""

    practice: Practice
    requests: AccessRequests
    letters: Letters

    async def open_mail(self) -> Sequence[Message]:
        """What was put in the mail since the last time."""
        await self.requests.announce()
        while await self.letters.send_owed():
            pass
        ann, keys = self.practice.ann, self.practice.cabinet.keys
        messages: list[Message] = []
        async with self.practice.database.transaction(ann) as transaction:
            rows = await transaction.fetch("SELECT id FROM outgoing_mail ORDER BY id")
            for row in rows:
                mail = await MailRepository().find_mail(transaction, row["id"])
                assert mail is not None
                key = await keys.open(mail)
                messages.append(
                    open_message(key.material, mail["sealed_message"], ann.tenant_id, row["id"])
                )
                await MailRepository().delete_mail(transaction, row["id"])
        return messages

    async def subjects(self) -> list[tuple[str, str]]:
        """To whom and about what."""
        mail = await self.open_mail()
        return sorted((one.to, one.subject.partition(":")[0]) for one in mail)

    async def age(self, interval: str) -> None:
        """Let what was sent be sent that long ago."""
        await self.practice.execute(
            "UPDATE letters SET sent_at = sent_at - $1::text::interval", interval
        )


@pytest.fixture
async def mailroom(post: Post, tmp_path: Path, make_scope: MakeScope) -> Mailroom:
    practice = await open_practice(post.database, tmp_path, make_scope)
    cabinet, ids = practice.cabinet, IdSource()
    requests = AccessRequests(
        practice.database, practice.grants, cabinet.keys, cabinet.ledger, ids, SystemClock()
    )
    mail = MailQueue(cabinet.keys, JobQueue(ids), ids)
    return Mailroom(practice, requests, Letters(post.stepped, mail))


@pytest.mark.parametrize("kind", LetterKind)
def test_a_letter_says_what_to_do_and_nothing_else(kind: LetterKind) -> None:
    letter = write_letter(kind, "ada@example.org", "The {practice}")
    assert letter is not None
    assert "The {practice}" in letter.text
    assert "Sign in" in letter.text
    assert "GET /v1/" in letter.text


def test_nobody_is_written_to_at_what_is_no_address() -> None:
    assert write_letter(LetterKind.SHARED, "ada lovelace", "The practice") is None


async def test_the_owner_is_asked_and_the_asker_answered(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    document = await practice.put_document()
    request_id = await mailroom.requests.ask(practice.cem, document, WISH)
    [letter] = await mailroom.open_mail()
    assert (letter.to, letter.subject.partition(":")[0]) == (
        practice.ann.email,
        "Somebody asks for access",
    )
    everything = json.dumps([letter.subject, letter.text, dict(letter.headers)])
    for secret in (practice.cem.email, "findings", document.id.hex, request_id.hex):
        assert secret not in everything
    await mailroom.requests.approve(practice.ann, request_id)
    assert await mailroom.subjects() == [(practice.cem.email, "Your request was answered")]


async def test_a_flood_of_questions_is_one_letter_an_hour(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    for asker in (practice.bob, practice.cem, practice.dee):
        for _ in range(3):
            await mailroom.requests.ask(asker, await practice.put_document(), WISH)
    asked = [(practice.ann.email, "Somebody asks for access")]
    assert await mailroom.subjects() == asked
    # What comes within the hour waits for its end, and is not forgotten.
    await mailroom.requests.ask(practice.cem, await practice.put_document(), WISH)
    assert await mailroom.subjects() == []
    await mailroom.age("61 minutes")
    assert await mailroom.subjects() == asked
    assert await mailroom.subjects() == []


async def test_two_workers_send_one_letter(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    for _ in range(3):
        await mailroom.requests.ask(practice.cem, await practice.put_document(), WISH)
    await mailroom.requests.announce()
    counts = await asyncio.gather(*(mailroom.letters.send_owed() for _ in range(3)))
    assert sum(counts) == 1


async def test_a_worker_that_looked_too_early_does_not_write_again(
    mailroom: Mailroom, post: Post
) -> None:
    practice = mailroom.practice
    await mailroom.requests.ask(practice.cem, await practice.put_document(), WISH)
    await mailroom.requests.announce()
    gate = post.stepped.step(1)
    late = asyncio.create_task(mailroom.letters.send_owed())
    await gate.wait_until_reached()
    early = Letters(practice.database, mailroom.letters._mail)
    assert await early.send_owed() == 1
    await mailroom.requests.ask(practice.dee, await practice.put_document(), WISH)
    await mailroom.requests.announce()
    gate.open()
    assert await late == 0
    await mailroom.age("61 minutes")
    assert await mailroom.letters.send_owed() == 1


async def test_consent_is_asked_and_its_end_told(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    consent = (await practice.ask(await practice.put_document(about=practice.bob))).consent
    assert await mailroom.subjects() == [(practice.bob.email, "You are asked for your consent")]
    await practice.consents.give(practice.bob, consent.id, 1)
    assert await mailroom.subjects() == []
    await practice.consents.withdraw(practice.bob, consent.id)
    assert await mailroom.subjects() == [(practice.ann.email, "A consent was withdrawn")]


async def test_nobody_is_written_to_about_their_own_doing(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    consent = (await practice.ask(await practice.put_document(about=practice.ann))).consent
    await practice.consents.give(practice.ann, consent.id, 1)
    await practice.consents.withdraw(practice.ann, consent.id)
    assert await mailroom.subjects() == []


async def share_with(practice: Practice, email: str) -> None:
    await practice.grants.create(practice.ann, await practice.put_document(), Invitee(email), READ)


async def test_a_guest_is_told_and_a_colleague_is_not(mailroom: Mailroom) -> None:
    await share_with(mailroom.practice, "guest@example.org")
    await share_with(mailroom.practice, mailroom.practice.cem.email)
    assert await mailroom.subjects() == [("guest@example.org", "Something was shared with you")]


async def test_nobody_writes_to_everybody(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    for number in range(52):
        await share_with(practice, f"guest-{number}@example.org")
    assert len(await mailroom.subjects()) == 50


async def test_whoever_is_suspended_gets_none(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    await mailroom.requests.ask(practice.cem, await practice.put_document(), WISH)
    await suspend(practice, practice.ann)
    assert await mailroom.subjects() == []


async def test_a_tenant_whose_key_was_destroyed_writes_to_nobody(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    await mailroom.requests.ask(practice.cem, await practice.put_document(), WISH)
    await mailroom.requests.announce()
    async with practice.database.transaction(practice.ann) as transaction:
        assert await RotationRepository().destroy_tenant_keys(transaction) == 1
    assert await mailroom.letters.send_owed() == 0
    async with practice.database.transaction(practice.ann) as transaction:
        # Settled, so that it is not tried for ever.
        assert await transaction.fetchval("SELECT count(*) FROM letters WHERE sent_at IS NULL") == 0


async def suspend(practice: Practice, member: Member) -> None:
    await practice.execute(
        "UPDATE users SET suspended_at = now() WHERE id = $1", member.principal_id
    )


async def test_who_got_a_letter_is_forgotten_after_a_day(mailroom: Mailroom) -> None:
    await share_with(mailroom.practice, "guest@example.org")
    await mailroom.subjects()
    assert await mailroom.letters.forget() == 0
    await mailroom.age("25 hours")
    assert await mailroom.letters.forget() == 1


async def test_where_no_worker_runs_ten_letters_are_owed_and_no_more(mailroom: Mailroom) -> None:
    practice = mailroom.practice
    for number in range(12):
        document = await practice.put_document()
        await practice.grants.create(practice.ann, document, Invitee("guest@example.org"), READ)
        await mailroom.requests.ask(practice.cem, document, WISH)
        assert await practice.cabinet.count(practice.ann, "letters") == min(number + 1, 10)
    await mailroom.requests.announce()
    assert await practice.cabinet.count(practice.ann, "letters") == 20
    assert await mailroom.subjects() == [
        (practice.ann.email, "Somebody asks for access"),
        ("guest@example.org", "Something was shared with you"),
    ]
