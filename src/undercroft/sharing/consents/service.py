"""Consents: asked for by the owner of a thing, given and taken back by whom it is about."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import structlog

from undercroft.kit.database import DATABASE_GONE, Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.consents.errors import (
    ConsentStateError,
    ErasureNotPossibleError,
    NotNoticeOwnerError,
    NotPersonalError,
    OtherNoticeError,
)
from undercroft.sharing.consents.models import (
    CONSENT_PREFIX,
    Consent,
    ConsentEventKind,
    ConsentRecord,
    ConsentState,
    DueConsent,
    Use,
)
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.repository import ConsentRepository
from undercroft.sharing.models import Resource, ResourceKind
from undercroft.sharing.service import GrantService, no_resource

_BATCH: Final = 100
_SHOWN_USES: Final = 20
"""With each consent; the others are a list of their own."""

_ACTIONS: Final[dict[ConsentEventKind, Action]] = {
    ConsentEventKind.ASKED: "consent.ask",
    ConsentEventKind.GIVEN: "consent.give",
    ConsentEventKind.REFUSED: "consent.refuse",
    ConsentEventKind.RENEWED: "consent.renew",
    ConsentEventKind.WITHDRAWN: "consent.withdraw",
    ConsentEventKind.EXPIRED: "consent.expire",
}

_log: Final = structlog.stdlib.get_logger(__name__)


class ConsentService:
    """Asks for consent, and does what becomes of it.

    Args:
        database: Where consents are.
        notices: What is agreed to.
        grants: What rests on them.
        ledger: Where each event is put on record.
        ids: Makes their ids.
    """

    def __init__(
        self,
        database: Database,
        notices: NoticeService,
        grants: GrantService,
        ledger: Ledger,
        ids: IdSource,
    ) -> None:
        self._database = database
        self._notices = notices
        self._grants = grants
        self._ledger = ledger
        self._ids = ids
        self._repository = ConsentRepository()

    async def ask(self, scope: Scope, notice_id: UUID, resource: Resource) -> ConsentRecord:
        """Ask whom a thing of the principal's is about for their consent to the notice's latest version.

        Raises:
            NotFoundError: When the principal owns no such thing, or there is no such notice.
            NotNoticeOwnerError: When the notice is another's.
            NotPersonalError: When the thing is not marked as personal.
            ErasureNotPossibleError: When the notice promises to erase what is neither document nor record.
        """
        consent_id = self._ids.new()
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.lock_resource(transaction, resource.id):
                raise no_resource(resource)
            subject_id = await self._repository.data_subject_of(transaction, resource.id)
            notice = await self._notices.read(transaction, notice_id)
            if notice.owner_id != scope.principal_id:
                raise NotNoticeOwnerError
            if subject_id is None:
                raise NotPersonalError
            if notice.terms.erases and resource.kind is ResourceKind.COLLECTION:
                raise ErasureNotPossibleError
            await self._repository.insert_consent(
                transaction,
                consent_id,
                (notice.id, notice.version, notice.purpose),
                resource,
                subject_id,
            )
            return await self._record(transaction, scope, consent_id, ConsentEventKind.ASKED)

    async def give(self, scope: Scope, consent_id: UUID, notice_version: int) -> ConsentRecord:
        """Agree to what is asked, as its subject.

        Args:
            scope: The subject's.
            consent_id: What is asked.
            notice_version: Which version of the notice they have read.

        Raises:
            NotFoundError: When the principal is asked no such thing.
            ConsentStateError: When it was answered already.
            OtherNoticeError: When the question is about another version.
        """
        async with self._changing(scope, consent_id, {ConsentState.ASKED}) as (transaction, found):
            if notice_version != found.notice_version:
                raise OtherNoticeError(found.notice_version)
            await self._repository.hold_person(transaction)
            await self._repository.give_consent(transaction, consent_id, notice_version)
            return await self._record(transaction, scope, consent_id, ConsentEventKind.GIVEN)

    async def refuse(self, scope: Scope, consent_id: UUID) -> ConsentRecord:
        """Say no to what is asked, as its subject.

        Raises:
            NotFoundError: When the principal is asked no such thing.
            ConsentStateError: When it was answered already.
        """
        async with self._changing(scope, consent_id, {ConsentState.ASKED}) as (transaction, _):
            await self._repository.refuse_consent(transaction, consent_id)
            return await self._record(transaction, scope, consent_id, ConsentEventKind.REFUSED)

    async def renew(self, scope: Scope, consent_id: UUID, notice_version: int) -> ConsentRecord:
        """Agree anew, to the notice's latest version: what was given goes on, what has expired counts again.

        Raises:
            NotFoundError: When the principal has no such consent.
            ConsentStateError: When it was never given, or was withdrawn.
            OtherNoticeError: When the notice has another latest version.
        """
        renewable = {ConsentState.GIVEN, ConsentState.EXPIRED}
        async with self._changing(scope, consent_id, renewable) as (transaction, found):
            notice = await self._notices.read(transaction, found.notice_id)
            if notice_version != notice.version:
                raise OtherNoticeError(notice.version)
            if found.is_gone:
                raise no_resource(found.resource)
            await self._repository.hold_person(transaction)
            await self._repository.give_consent(transaction, consent_id, notice_version)
            return await self._record(transaction, scope, consent_id, ConsentEventKind.RENEWED)

    async def withdraw(self, scope: Scope, consent_id: UUID) -> ConsentRecord:
        """Take a consent back. From the commit on nobody sees anything under it; what was withdrawn stays so.

        Raises:
            NotFoundError: When the principal has no such consent.
            ConsentStateError: When it does not count.
        """
        async with self._changing(scope, consent_id, {ConsentState.GIVEN}) as (transaction, _):
            await self._repository.withdraw_consent(transaction, consent_id)
            await self._grants.end_under_consent(transaction, scope, consent_id)
            return await self._record(transaction, scope, consent_id, ConsentEventKind.WITHDRAWN)

    async def withdraw_all(self, scope: Scope) -> list[ConsentRecord]:
        """Take back all that the principal has agreed to, each in a transaction of its own, until nothing is left."""
        withdrawn: list[ConsentRecord] = []
        while given := await self._list_given(scope):
            for consent_id in given:
                try:
                    withdrawn.append(await self.withdraw(scope, consent_id))
                except ConsentStateError:
                    continue  # it ended by itself meanwhile
        return withdrawn

    async def _list_given(self, scope: Scope) -> list[UUID]:
        async with self._database.transaction(scope) as transaction:
            # The race: a consent is being given, which this does not see before it commits. Whoever gives holds the
            # person; this waits for them, and its next statement sees what they gave.
            await self._repository.lock_person(transaction)
            return await self._repository.list_given(transaction, _BATCH)

    async def get(self, scope: Scope, consent_id: UUID) -> ConsentRecord:
        """A consent with what was agreed to, what has happened to it, and the newest uses made of it.

        Raises:
            NotFoundError: When it is neither the principal's, nor did they ask for it.
        """
        async with self._database.transaction(scope) as transaction:
            consent = await self._find(transaction, consent_id)
            return (await self._describe(transaction, scope, [consent]))[0]

    async def list_consents(
        self, scope: Scope, *, asked: bool = False, after: UUID | None = None, limit: int
    ) -> list[ConsentRecord]:
        """The principal's own consents, or those that they asked for, the newest first, as :meth:`get` has them."""
        async with self._database.transaction(scope) as transaction:
            found = await self._repository.list_consents(
                transaction, asked=asked, after=after, limit=limit
            )
            return await self._describe(transaction, scope, found)

    async def list_uses(
        self, scope: Scope, consent_id: UUID, *, after: UUID | None = None, limit: int
    ) -> list[Use]:
        """What was done under a consent, the newest first.

        Raises:
            NotFoundError: When it is neither the principal's, nor did they ask for it.
        """
        async with self._database.transaction(scope) as transaction:
            consent = await self._find(transaction, consent_id)
            await self._ledger.append(transaction, scope, _act("consent.read", consent))
            return await self._repository.list_uses(
                transaction, consent_id, after=after, limit=limit
            )

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a consent, for its subject and for who asked."""
        del scope  # the transaction's own
        consent_id = parse_id(CONSENT_PREFIX, reference)
        if consent_id is None:
            return None
        return await self._repository.find_consent_salt(transaction, consent_id)

    async def expire(self) -> int:
        """End what is over by its time, whoever's it is, a transaction each; how many there were."""
        async with self._database.transaction_without_scope() as transaction:
            due = await self._repository.list_due_consents(transaction, _BATCH)
        for consent in due:
            try:
                await self._expire(consent)
            except DATABASE_GONE:
                raise
            # Whatever one consent meets must not keep the others for ever.
            except Exception as error:  # noqa: BLE001
                _log.error("consent_not_expired", consent_id=str(consent.id), exc_info=error)
        return len(due)

    async def _expire(self, due: DueConsent) -> None:
        async with self._database.transaction(due) as transaction:
            version = await self._repository.expire_consent(transaction, due.id)
            if version is not None:
                await self._record(transaction, due, due.id, ConsentEventKind.EXPIRED)
            await self._repository.end_retention(transaction, due.id)

    @asynccontextmanager
    async def _changing(
        self, scope: Scope, consent_id: UUID, states: set[ConsentState]
    ) -> AsyncGenerator[tuple[Transaction, Consent]]:
        """A transaction that holds a consent of the principal's, in one of these states."""
        async with self._database.transaction(scope) as transaction:
            # Locked by a statement of its own: the next one sees what the lock's former holder has made of it.
            if not await self._repository.lock_consent(transaction, consent_id):
                raise _no_consent(consent_id)
            found = await self._find(transaction, consent_id)
            if found.state not in states:
                raise ConsentStateError(found.state)
            yield transaction, found

    async def _find(self, transaction: Transaction, consent_id: UUID) -> Consent:
        found = await self._repository.find_consent(transaction, consent_id)
        if found is None:
            raise _no_consent(consent_id)
        return found

    async def _record(
        self, transaction: Transaction, scope: Scope, consent_id: UUID, kind: ConsentEventKind
    ) -> ConsentRecord:
        """Put an event on record, and answer what has become of the consent."""
        consent = await self._find(transaction, consent_id)
        notice = await self._notices.read(transaction, consent.notice_id, consent.notice_version)
        act = _act(_ACTIONS[kind], consent, content=notice.digest)
        [entry_id] = await self._ledger.append(transaction, scope, act)
        await self._repository.insert_event(
            transaction, consent_id, kind, consent.notice_version, entry_id
        )
        events = await self._repository.list_events(transaction, [consent_id])
        return ConsentRecord(consent, notice, events[consent_id])

    async def _describe(
        self, transaction: Transaction, scope: Scope, consents: Sequence[Consent]
    ) -> list[ConsentRecord]:
        """What was done with the data of somebody is put on record as read, whoever of the two reads it."""
        await self._ledger.append(
            transaction, scope, *(_act("consent.read", consent) for consent in consents)
        )
        events = await self._repository.list_events(transaction, [one.id for one in consents])
        records: list[ConsentRecord] = []
        for consent in consents:
            notice = await self._notices.read(
                transaction, consent.notice_id, consent.notice_version
            )
            uses = await self._repository.list_uses(
                transaction, consent.id, after=None, limit=_SHOWN_USES + 1
            )
            records.append(
                ConsentRecord(
                    consent,
                    notice,
                    events[consent.id],
                    uses[:_SHOWN_USES],
                    has_more_uses=len(uses) > _SHOWN_USES,
                )
            )
        return records


def _act(action: Action, consent: Consent, content: bytes | None = None) -> Act:
    """Whoever asked sees it in their audit besides its subject, who acts."""
    subject = Subject(render_id(CONSENT_PREFIX, consent.id), consent.salt)
    return Act(action, subject, consent.controller_id, purpose=consent.purpose, content=content)


def _no_consent(consent_id: UUID) -> NotFoundError:
    return NotFoundError("consent", render_id(CONSENT_PREFIX, consent_id))
