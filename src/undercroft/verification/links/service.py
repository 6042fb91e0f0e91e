"""Making, ending and following verification links."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.tokens import hash_token, is_token, make_token
from undercroft.ledger.actions import Action
from undercroft.ledger.directory import LogDirectory
from undercroft.ledger.leaves import grant_reference
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.ledger.verification.notes import parse_key
from undercroft.sharing.ways import acts_under, grant_ids
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.vault.versions import VersionService
from undercroft.verification.links.models import (
    VERIFICATION_LINK_PREFIX,
    VERIFICATION_TOKEN_PREFIX,
    CreatedVerificationLink,
    CreatorScope,
    LinkStanding,
    LinkVerdict,
    ReadableDocument,
    VerificationLink,
)
from undercroft.verification.links.repository import VerificationLinkRepository
from undercroft.verification.models import ConsentState, ProofKind, Standing, Verdict
from undercroft.verification.standings import Standings, first_end

_KIND: Final = ProofKind.DOCUMENT_VERSION


class VerificationLinks:
    """Links by which anybody learns whether one version of a document is there unchanged.

    A link counts by the right of whoever made it to read the document, looked up each time that it is followed.

    Args:
        database: Where they are.
        versions: Say whether somebody may read one.
        ledger: Where making and ending a link is put on record.
        logs: Say who vouches.
        keys: Open the digests of what is kept.
        ids: Makes ids.
        entropy: Where tokens come from.
    """

    def __init__(
        self,
        database: Database,
        versions: VersionService,
        ledger: Ledger,
        logs: LogDirectory,
        keys: KeyRing,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._versions = versions
        self._ledger = ledger
        self._logs = logs
        self._standings = Standings(keys)
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
        token = make_token(VERIFICATION_TOKEN_PREFIX, self._entropy)
        async with self._database.transaction(scope) as transaction:
            document = await self._repository.find_readable(transaction, document_id)
            if document is None:
                raise NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id))
            await self._record(transaction, scope, "verification_link.create", document, number)
            link = await self._repository.insert_link(
                transaction,
                scope,
                self._ids.new(),
                document_id,
                number,
                hash_token(token),
                lifetime,
            )
        return CreatedVerificationLink(link, token)

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
            document_id, number = revoked["document_id"], revoked["document_version"]
            document = None
            if document_id is not None:
                document = await self._repository.find_readable(transaction, document_id)
            if document is not None:
                await self._record(transaction, scope, "verification_link.revoke", document, number)

    async def follow(self, token: str) -> LinkVerdict:
        """What a link says at this instant.

        Raises:
            NotFoundError: When there is no such link.
            KeyUnavailableError: When the key provider does not answer.
        """
        scope = await self._find(token)
        log = await self._logs.find_of(scope.tenant_id)
        async with self._database.transaction(scope) as transaction:
            verdict = await self._follow(transaction, scope)
        if verdict.verdict.status is None or log is None:
            return verdict
        key = parse_key(log.verifier_keys[0])
        vouched = Verdict(
            _KIND, key.name, str(key), verdict.verdict.status, verdict.verdict.valid_until
        )
        return LinkVerdict(verdict.standing, vouched, verdict.sha256, verdict.consent)

    async def _find(self, token: str) -> CreatorScope:
        scope = None
        if is_token(VERIFICATION_TOKEN_PREFIX, token):
            async with self._database.statement_without_scope() as connection:
                scope = await self._repository.find_creator_scope(connection, hash_token(token))
        if scope is None:
            raise NotFoundError("verification link", "of this address")
        return scope

    async def _follow(self, transaction: Transaction, scope: CreatorScope) -> LinkVerdict:
        link = await self._repository.find_link(transaction, scope.link_id)
        standing = LinkStanding.REVOKED if link is None else LinkStanding(link["standing"])
        if link is None or standing is not LinkStanding.LIVE:
            return LinkVerdict(standing, Verdict(_KIND))
        if link["document_id"] is None:
            return _say(Standing.ERASED, link["expires_at"])
        found = await self._standings.of_version(
            transaction, link["document_id"], link["document_version"]
        )
        if found is None or found.standing in {Standing.ERASED, Standing.DELETED}:
            return _say(Standing.ERASED if found is None else found.standing, link["expires_at"])
        document = await self._repository.find_readable(transaction, link["document_id"])
        if document is None:
            return LinkVerdict(LinkStanding.REVOKED, Verdict(_KIND))
        references = [grant_reference(grant_id) for grant_id in grant_ids(document.way)]
        grants = await self._standings.of_grants(transaction, references)
        ends = [link["expires_at"], *filter(None, [first_end(grants)])]
        consents = [grant.consent for grant in grants if grant.consent is not None]
        digest = None if found.digest is None else found.digest.hex()
        return _say(found.standing, min(ends), digest, consents)

    async def _record(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        document: ReadableDocument,
        number: int,
    ) -> None:
        subject = Subject(render_id(DOCUMENT_PREFIX, document.id), document.salt)
        act = Act(action, subject, document.owner_id, number)
        await self._ledger.append(transaction, scope, *acts_under(scope, document.way, act))


def _say(
    standing: Standing,
    until: datetime,
    sha256: str | None = None,
    consents: Sequence[ConsentState] = (),
) -> LinkVerdict:
    verdict = Verdict(_KIND, status=standing, valid_until=until)
    return LinkVerdict(LinkStanding.LIVE, verdict, sha256, next(iter(consents), None))
