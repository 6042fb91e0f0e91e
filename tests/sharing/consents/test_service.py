"""What is personal is shared only with consent, for its purpose and its time; taken back, it is seen by nobody."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from tests.conftest import Member
from tests.records import ANN, PERSON, changed, made_from
from tests.sharing.consents.conftest import ERASING, READ, TERMS, Practice
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.ledger.models import Act, Subject
from undercroft.sharing.consents.errors import (
    ConsentStateError,
    ErasureNotPossibleError,
    MixedSubjectsError,
    NotNoticeOwnerError,
    NotPersonalError,
    OtherNoticeError,
)
from undercroft.sharing.consents.models import ConsentEventKind, ConsentState, Erasure
from undercroft.sharing.errors import ConsentRequiredError
from undercroft.sharing.models import Ending, GrantAction, Resource, ResourceKind, Terms

SHARE = Terms(frozenset({GrantAction.READ, GrantAction.SHARE}))


async def test_what_is_not_personal_takes_no_consent(practice: Practice) -> None:
    document = await practice.put_document()
    grant = await practice.share(document, practice.cem)
    assert grant.consent_id is None
    with pytest.raises(NotPersonalError):
        await practice.ask(document)


async def test_what_is_personal_is_not_shared_without_consent(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    with pytest.raises(ConsentRequiredError):
        await practice.share(document, practice.cem)
    asked = await practice.ask(document)
    with pytest.raises(ConsentRequiredError):
        await practice.share(document, practice.cem)
    await practice.consents.refuse(practice.bob, asked.consent.id)
    with pytest.raises(ConsentRequiredError):
        await practice.share(document, practice.cem)


async def test_a_grant_has_from_the_consent_what_it_does_not_say(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = (await practice.agree(document, practice.bob)).consent
    grant = await practice.share(document, practice.cem)
    assert grant.consent_id == given.id
    assert (grant.terms.purpose, grant.terms.expires_at) == ("second-opinion", given.valid_until)
    assert await practice.ways(practice.cem, document)
    assert not await practice.ways(practice.cem, document, purpose="advertising")
    assert not await practice.ways(practice.cem, document, purpose=None)


async def test_a_grant_neither_outlives_the_consent_nor_is_for_another_purpose(
    practice: Practice,
) -> None:
    document = await practice.put_document(about=practice.bob)
    given = (await practice.agree(document, practice.bob)).consent
    assert given.valid_until is not None
    later = given.valid_until + timedelta(seconds=1)
    for terms in (replace(READ, purpose="advertising"), replace(READ, expires_at=later)):
        with pytest.raises(ConsentRequiredError):
            await practice.share(document, practice.cem, terms)


@pytest.mark.parametrize(
    ("consent", "purpose", "expiry"),
    [
        ("NULL", "'second-opinion'", "c.valid_until"),
        ("c.id", "'advertising'", "c.valid_until"),
        ("c.id", "NULL", "c.valid_until"),
        ("c.id", "'second-opinion'", "c.valid_until + interval '1 second'"),
        ("c.id", "'second-opinion'", "NULL"),
    ],
    ids=["none", "other purpose", "every purpose", "outlives", "for ever"],
)
async def test_the_database_refuses_what_no_consent_covers(
    practice: Practice, consent: str, purpose: str, expiry: str
) -> None:
    document = await practice.put_document(about=practice.bob)
    await practice.agree(document, practice.bob)
    with pytest.raises(asyncpg.CheckViolationError, match="rests on a live consent"):
        await practice.execute(
            "INSERT INTO grants (id, tenant_id, document_id, grantor_id, user_id, actions, consent_id, purpose,"
            f" expires_at) SELECT $1, c.tenant_id, $2, c.controller_id, $3, '{{read}}', {consent}, {purpose}, {expiry}"
            " FROM consents AS c",
            IdSource().new(),
            document.id,
            practice.cem.principal_id,
        )


async def test_a_consent_is_to_one_thing_and_of_one_person(practice: Practice) -> None:
    first = await practice.put_document(about=practice.bob)
    other = await practice.put_document(about=practice.bob)
    await practice.agree(first, practice.bob)
    with pytest.raises(ConsentRequiredError):
        await practice.share(other, practice.cem)
    await practice.share(first, practice.cem)
    await practice.subjects.mark(practice.ann, first, practice.dee.email)
    assert not await practice.ways(practice.cem, first)
    with pytest.raises(ConsentRequiredError):
        await practice.share(first, practice.cem)


async def test_what_becomes_personal_is_shared_no_more(practice: Practice) -> None:
    document = await practice.put_document()
    first = await practice.share(document, practice.cem, SHARE)
    await practice.share(document, practice.dee, giver=practice.cem)
    assert await practice.ways(practice.dee, document)
    await practice.subjects.mark(practice.ann, document, practice.bob.email)
    assert not await practice.ways(practice.cem, document)
    assert not await practice.ways(practice.dee, document)
    assert (await practice.grants.get(practice.cem, first.id)).ending is Ending.UNCONSENTED
    assert (await practice.actions())[-3:] == ["document.mark", "grant.revoke", "grant.revoke"]


async def test_withdrawal_ends_what_rests_on_it_and_what_derives_from_that(
    practice: Practice,
) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    first = await practice.share(document, practice.cem, SHARE)
    cem = replace(practice.cem, purpose="second-opinion")
    second = await practice.share(document, practice.dee, giver=cem)
    assert second.consent_id == given.consent.id
    assert await practice.ways(practice.dee, document)
    withdrawn = await practice.consents.withdraw(practice.bob, given.consent.id)
    assert withdrawn.consent.state is ConsentState.WITHDRAWN
    assert withdrawn.consent.erasure is Erasure.NONE
    for reader in (practice.cem, practice.dee):
        assert not await practice.ways(reader, document)
    assert (await practice.grants.get(practice.cem, first.id)).ending is Ending.WITHDRAWN
    with pytest.raises(ConsentRequiredError):
        await practice.share(document, practice.cem)
    with pytest.raises(ConsentStateError):
        await practice.consents.withdraw(practice.bob, given.consent.id)
    *_, ended, ended_too, withdrawal, refusal = await practice.actions()
    assert (ended, ended_too, withdrawal) == ("grant.revoke", "grant.revoke", "consent.withdraw")
    assert refusal == "grant.create"


async def test_all_can_be_withdrawn_at_once_and_others_consents_stay(practice: Practice) -> None:
    mine = [await practice.put_document(about=practice.bob) for _ in range(3)]
    others = await practice.put_document(about=practice.dee)
    for document in mine:
        await practice.agree(document, practice.bob)
        await practice.share(document, practice.cem)
    await practice.agree(others, practice.dee)
    await practice.share(others, practice.cem)
    assert len(await practice.consents.withdraw_all(practice.bob)) == 3
    for document in mine:
        assert not await practice.ways(practice.cem, document)
    assert await practice.ways(practice.cem, others)


async def test_only_its_subject_answers_and_only_the_two_see_it(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    asked = (await practice.ask(document)).consent
    consents = practice.consents
    answers: list[Callable[[Member], Awaitable[object]]] = [
        lambda who: consents.give(who, asked.id, 1),
        lambda who: consents.refuse(who, asked.id),
        lambda who: consents.renew(who, asked.id, 1),
        lambda who: consents.withdraw(who, asked.id),
    ]
    for answer in answers:
        for other in (practice.ann, practice.cem):
            with pytest.raises(NotFoundError):
                await answer(other)
    for stranger in (practice.cem, practice.dee):
        with pytest.raises(NotFoundError):
            await practice.consents.get(stranger, asked.id)
        with pytest.raises(NotFoundError):
            await practice.consents.list_uses(stranger, asked.id, limit=1)
    assert (await practice.consents.get(practice.ann, asked.id)).consent == asked
    assert [
        len(await practice.consents.list_consents(person, asked=asked_for, limit=9))
        for person in (practice.ann, practice.bob)
        for asked_for in (False, True)
    ] == [0, 1, 1, 0]


async def test_only_the_owner_asks_and_with_a_notice_of_their_own(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    notice = await practice.publish()
    with pytest.raises(NotFoundError):
        await practice.consents.ask(practice.bob, notice.id, document)
    theirs = await practice.notices.create(practice.cem, "x", notice.content, TERMS)
    with pytest.raises(NotNoticeOwnerError):
        await practice.consents.ask(practice.ann, theirs.id, document)
    with pytest.raises(NotNoticeOwnerError):
        await practice.notices.add_version(practice.ann, theirs.id, notice.content, TERMS)


async def test_a_consent_is_to_the_version_that_was_read(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    asked = await practice.ask(document)
    changed_content = replace(asked.notice.content, recipients=("everybody",))
    second = await practice.notices.add_version(
        practice.ann, asked.notice.id, changed_content, TERMS
    )
    assert (second.version, second.digest) != (1, asked.notice.digest)
    with pytest.raises(OtherNoticeError):
        await practice.consents.give(practice.bob, asked.consent.id, 2)
    given = await practice.consents.give(practice.bob, asked.consent.id, 1)
    assert given.notice.content == asked.notice.content
    with pytest.raises(OtherNoticeError):
        await practice.consents.renew(practice.bob, asked.consent.id, 1)
    renewed = await practice.consents.renew(practice.bob, asked.consent.id, 2)
    assert renewed.notice.digest == second.digest
    assert [event.kind for event in renewed.events] == [
        ConsentEventKind.ASKED,
        ConsentEventKind.GIVEN,
        ConsentEventKind.RENEWED,
    ]


async def test_time_ends_a_consent_and_renewal_brings_it_back(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    await practice.expire(given.consent.id)
    with pytest.raises(ConsentRequiredError):  # before any round has said so
        await practice.share(document, practice.cem)
    assert await practice.consents.expire() == 1
    assert await practice.consents.expire() == 0
    ended = await practice.consents.get(practice.bob, given.consent.id)
    assert ended.consent.state is ConsentState.EXPIRED
    assert ended.events[-1].kind is ConsentEventKind.EXPIRED
    await practice.consents.renew(practice.bob, given.consent.id, 1)
    await practice.share(document, practice.cem)


async def test_every_event_is_ledgered(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    start = len(await practice.actions())
    given = await practice.agree(document, practice.bob)
    await practice.consents.renew(practice.bob, given.consent.id, 1)
    await practice.consents.withdraw(practice.bob, given.consent.id)
    await practice.consents.refuse(practice.bob, (await practice.ask(document)).consent.id)
    acts = [action for action in (await practice.actions())[start:] if "consent" in action]
    assert acts == [
        f"consent.{act}" for act in ("ask", "give", "renew", "withdraw", "ask", "refuse")
    ]


async def test_a_person_sees_what_was_done_under_their_consent(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    grant = await practice.share(document, practice.cem)
    read = Act(
        "document.read",
        Subject(render_id("file-", document.id), bytes(32)),
        practice.ann.principal_id,
        grant_id=grant.id,
    )
    async with practice.database.transaction(practice.cem) as transaction:
        await practice.cabinet.ledger.append(transaction, practice.cem, read, read, read)
    seen = await practice.consents.get(practice.bob, given.consent.id)
    assert [(use.action, use.actor_id) for use in seen.uses] == [
        ("document.read", practice.cem.principal_id)
    ] * 3
    await practice.execute("DELETE FROM documents WHERE id = $1", document.id)
    uses = await practice.consents.list_uses(practice.bob, given.consent.id, limit=2)
    assert [use.id for use in uses] == [use.id for use in seen.uses[:2]]
    rest = await practice.consents.list_uses(
        practice.bob, given.consent.id, after=uses[-1].id, limit=2
    )
    assert [use.id for use in rest] == [seen.uses[2].id]
    assert (await practice.consents.get(practice.bob, given.consent.id)).consent.is_gone


# Records -----------------------------------------------------------------------------------------


async def test_personal_fields_of_a_record_take_consent_and_others_do_not(
    practice: Practice,
) -> None:
    schema = await practice.cabinet.schemas.create(
        practice.ann, "patient", replace(PERSON, personal_fields=("/health", "/email"))
    )
    record = await practice.cabinet.records.create(practice.ann, schema.id, ANN)
    resource = Resource(ResourceKind.RECORD, record.id)
    await practice.share(resource, practice.cem, replace(READ, fields=frozenset({"/city"})))
    for fields in ({"/health"}, {"/health/allergies"}, {"/city", "/email"}, None):
        chosen = None if fields is None else frozenset(fields)
        with pytest.raises(ConsentRequiredError):
            await practice.share(resource, practice.cem, replace(READ, fields=chosen))
    given = await practice.agree(resource, practice.ann)  # about its owner, unless another is named
    grant = await practice.share(resource, practice.cem)
    assert grant.consent_id == given.consent.id


async def test_a_record_that_becomes_personal_is_shared_no_more(practice: Practice) -> None:
    schema = await practice.cabinet.schemas.create(practice.ann, "patient", PERSON)
    record = await practice.cabinet.records.create(practice.ann, schema.id, ANN)
    resource = Resource(ResourceKind.RECORD, record.id)
    await practice.share(resource, practice.cem)
    kept = await practice.share(resource, practice.dee, replace(READ, fields=frozenset({"/city"})))
    await practice.cabinet.schemas.add_version(
        practice.ann, schema.id, replace(PERSON, personal_fields=("/health",))
    )
    await practice.cabinet.records.update(
        practice.ann, record.id, made_from(record), changed(city="Bonn")
    )
    assert await practice.ways(practice.cem, resource)  # it follows its own version of the schema
    await practice.execute("UPDATE records SET schema_version = 2 WHERE id = $1", record.id)
    assert not await practice.ways(practice.cem, resource)
    assert [way.grants[0].id for way in await practice.ways(practice.dee, resource)] == [kept.id]


# Vector stores ------------------------------------------------------------------------------------


async def test_a_personal_document_stands_only_in_stores_about_the_same_person(
    practice: Practice,
) -> None:
    personal = await practice.put_document(about=practice.bob)
    plain, store = await practice.put_document(), await practice.put_collection()
    about_dee = await practice.put_collection(about=practice.dee)
    about_bob = await practice.put_collection(about=practice.bob)
    for other in (store, about_dee):
        with pytest.raises(asyncpg.RestrictViolationError):
            await practice.add(other, personal)
    await practice.add(about_bob, personal)
    await practice.add(store, plain)
    with pytest.raises(MixedSubjectsError):
        await practice.subjects.mark(practice.ann, plain, practice.bob.email)
    with pytest.raises(MixedSubjectsError):
        await practice.subjects.unmark(practice.ann, about_bob)
    with pytest.raises(MixedSubjectsError):
        await practice.subjects.mark(practice.ann, personal, practice.dee.email)
    with pytest.raises(ConsentRequiredError):
        await practice.share(about_bob, practice.cem)


async def test_a_store_is_not_promised_to_be_erased(practice: Practice) -> None:
    store = await practice.put_collection(about=practice.bob)
    with pytest.raises(ErasureNotPossibleError):
        await practice.ask(store, ERASING)


async def test_only_the_owner_says_whom_a_thing_is_about(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    for other in (practice.bob, practice.cem):
        with pytest.raises(NotFoundError):
            await practice.subjects.unmark(other, document)
        with pytest.raises(NotFoundError):
            await practice.subjects.get(other, document)
    assert await practice.subjects.get(practice.ann, document) == practice.bob.principal_id
    assert await practice.subjects.unmark(practice.ann, document) is None
    await practice.share(document, practice.cem)
