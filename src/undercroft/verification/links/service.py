"""Making, ending and following verification links."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.kit.tokens import hash_token, is_token, make_token
from undercroft.ledger.actions import Action
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.notes import verifier_key
from undercroft.ledger.service import Ledger
from undercroft.ledger.verification.notes import parse_key
from undercroft.sharing.models import GrantAction
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.vault.records.commitments import check_pointers
from undercroft.vault.records.errors import FieldNotThereError, NoCommitmentError
from undercroft.vault.records.service import RecordService
from undercroft.vault.versions import VersionService
from undercroft.verification.links.following import LinkReading
from undercroft.verification.links.models import (
    VERIFICATION_LINK_PREFIX,
    VERIFICATION_TOKEN_PREFIX,
    CreatedVerificationLink,
    CreatorScope,
    LinkVerdict,
    Readable,
    Target,
    VerificationLink,
)
from undercroft.verification.links.repository import VerificationLinkRepository
from undercroft.verification.models import ProofKind, Standing
from undercroft.verification.records import RecordStandings


class VerificationLinks:
    """Links by which anybody learns whether a version of a document, or fields of a record, are there unchanged.

    A link counts by the right of whoever made it to read that, looked up each time that it is followed.

    Args:
        database: Where they are.
        versions: Say whether somebody may read one.
        records: Say what is answered whoever may not read one.
        ledger: Where making and ending a link is put on record.
        log_keys: Say who vouches.
        keys: Open what is kept.
        ids: Makes ids.
        entropy: Where tokens come from.
    """

    def __init__(
        self,
        database: Database,
        versions: VersionService,
        records: RecordService,
        ledger: Ledger,
        log_keys: LogKeys,
        keys: KeyRing,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._versions = versions
        self._records = records
        self._ledger = ledger
        self._log_keys = log_keys
        self._standings = RecordStandings(keys)
        self._reading = LinkReading(keys)
        self._ids = ids
        self._entropy = entropy
        self._repository = VerificationLinkRepository()

    async def create(
        self, scope: Scope, document_id: UUID, number: int, lifetime: timedelta
    ) -> CreatedVerificationLink:
        """Make a link to a version that the principal may read.

        Raises:
            NotFoundError: When the principal may see no such document, or it has no such version.
            NotGrantedError: When they may, and not read it.
        """
        await self._versions.get(scope, document_id, number)
        target = Target(ProofKind.DOCUMENT_VERSION, number, document_id=document_id)
        async with self._database.transaction(scope) as transaction:
            document = await self._repository.find_readable(transaction, document_id)
            if document is None:
                raise NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id))
            return await self._insert(transaction, scope, target, document, lifetime)

    async def create_of_fields(
        self,
        scope: Scope,
        record_id: UUID,
        number: int,
        pointers: Sequence[str],
        lifetime: timedelta,
    ) -> CreatedVerificationLink:
        """Make a link to fields of a version of a record that the principal may read.

        Raises:
            OverlappingFieldsError: When one of the fields lies in another.
            NotFoundError: When the principal may see no such record, or it has no such version.
            NotGrantedError: When they know of it and may not read it.
            FieldNotThereError: When it has no such field, or they may not read that.
            NoCommitmentError: When the ledger commits to nothing that the version says.
            DecryptionError: When what is stored is not that.
        """
        check_pointers(pointers)
        target = Target(
            ProofKind.RECORD_FIELDS, number, record_id=record_id, fields=sorted(pointers)
        )
        async with self._records.refusing(scope, "record.read", record_id) as transaction:
            readable = await self._require_fields(transaction, record_id, number, pointers)
            return await self._insert(transaction, scope, target, readable, lifetime)

    async def list_links(
        self, scope: Scope, *, after: UUID | None, limit: int
    ) -> list[VerificationLink]:
        """The links that the principal made, the oldest first."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_links(transaction, after, limit)

    async def revoke(self, scope: Scope, link_id: UUID) -> None:
        """End a link that the principal made.

        Raises:
            NotFoundError: When they made none such.
        """
        async with self._database.transaction(scope) as transaction:
            revoked = await self._repository.revoke_link(transaction, link_id)
            if revoked is None:
                raise NotFoundError(
                    "verification link", render_id(VERIFICATION_LINK_PREFIX, link_id)
                )
            # Of what was erased, or is not theirs to see any more, the link says nothing that could be ended.
            readable = await self._find_readable(transaction, revoked)
            if readable is not None:
                await self._record(
                    transaction, scope, "verification_link.revoke", readable, revoked.version
                )

    async def follow(self, token: str) -> LinkVerdict:
        """What a link says at this instant.

        Raises:
            NotFoundError: When there is no such link.
            KeyUnavailableError: When the key provider does not answer.
        """
        scope = await self._find(token)
        async with self._database.transaction(scope) as transaction:
            verdict = await self._reading.read(transaction, scope.link_id)
        if verdict.verdict.status is None:
            return verdict
        # Makes the first: a link may be followed before the tenant's first entry has a number and its log a key.
        newest = (await self._log_keys.list_published(scope.tenant_id))[0]
        key = parse_key(verifier_key(newest.name, newest.public_key))
        vouched = replace(verdict.verdict, log=key.name, signed_by=str(key))
        return replace(verdict, verdict=vouched)

    async def _find(self, token: str) -> CreatorScope:
        scope = None
        if is_token(VERIFICATION_TOKEN_PREFIX, token):
            async with self._database.statement_without_scope() as connection:
                scope = await self._repository.find_creator_scope(connection, hash_token(token))
        if scope is None:
            raise NotFoundError("verification link", "of this address")
        return scope

    async def _require_fields(
        self, transaction: Transaction, record_id: UUID, number: int, pointers: Sequence[str]
    ) -> Readable:
        record = await self._repository.find_readable_record(transaction, record_id, number)
        if record is None:
            raise await self._records.refusal(transaction, record_id, GrantAction.READ)
        found = await self._standings.of_fields(transaction, record_id, number, pointers)
        if found is None:
            raise NoCommitmentError
        if found.standing is not Standing.UNCHANGED:
            raise DecryptionError
        there = {field.pointer for field in found.fields}
        for pointer in pointers:
            if pointer not in there or record.of_fields([pointer]) is None:
                raise FieldNotThereError(pointer)
        readable = record.of_fields(pointers)
        if readable is None:
            raise FieldNotThereError(pointers[0])
        return readable

    async def _find_readable(self, transaction: Transaction, target: Target) -> Readable | None:
        """What a link is to, when the principal may still read it."""
        if target.document_id is not None:
            return await self._repository.find_readable(transaction, target.document_id)
        if target.record_id is not None:
            record = await self._repository.find_readable_record(
                transaction, target.record_id, target.version
            )
            return None if record is None else record.of_fields(target.fields or ())
        return None

    async def _insert(
        self,
        transaction: Transaction,
        scope: Scope,
        target: Target,
        readable: Readable,
        lifetime: timedelta,
    ) -> CreatedVerificationLink:
        token = make_token(VERIFICATION_TOKEN_PREFIX, self._entropy)
        await self._record(transaction, scope, "verification_link.create", readable, target.version)
        link = await self._repository.insert_link(
            transaction, scope, self._ids.new(), target, hash_token(token), lifetime
        )
        return CreatedVerificationLink(link, token)

    async def _record(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        readable: Readable,
        number: int,
    ) -> None:
        subject = Subject(readable.reference, readable.salt)
        act = Act(action, subject, readable.owner_id, number)
        await self._ledger.append(transaction, scope, *acts_under(scope, readable.way, act))
