"""Letters to people about what is shared: that there is something to do, and where; what it is about is read there."""

from typing import Final

import structlog

from undercroft.kit.database import DATABASE_GONE, Database
from undercroft.kit.mail.message import InvalidMessageError, Message
from undercroft.ledger.models import ActorScope
from undercroft.mail.service import MailQueue
from undercroft.notifications.models import LetterKind
from undercroft.notifications.repository import LetterRepository

_BATCH: Final = 100
_FORGOTTEN: Final = 1000
_SUBJECT_NAME: Final = 100
"""Characters of a tenant's name in a subject."""

_TEXTS: Final[dict[LetterKind, tuple[str, str]]] = {
    LetterKind.ACCESS_ASKED: (
        "Somebody asks for access",
        """Somebody asks you for access to something of yours at {tenant}.

Sign in to see who asks and for what, and to approve it, less of it, or nothing (GET /v1/access-requests).

Nobody sees anything before you do. What you do not answer in thirty days is over.
""",
    ),
    LetterKind.ACCESS_ANSWERED: (
        "Your request was answered",
        """A request for access of yours at {tenant} was answered.

Sign in to see the answer (GET /v1/access-requests?role=asker).
""",
    ),
    LetterKind.CONSENT_ASKED: (
        "You are asked for your consent",
        """Somebody at {tenant} asks you to agree that something about you is shown to others.

Sign in to read for what and to whom, and to agree or refuse (GET /v1/consents).

Nothing is shown before you agree, and you can take it back at any time.
""",
    ),
    LetterKind.CONSENT_WITHDRAWN: (
        "A consent was withdrawn",
        """Somebody has taken back a consent that you asked for at {tenant}. What rested on it has ended.

Sign in to see which (GET /v1/consents?role=controller), and stop using what you hold because of it.
""",
    ),
    LetterKind.SHARED: (
        "Something was shared with you",
        """Somebody at {tenant} has shared something with this address.

Sign in to see it (GET /v1/access/resources). If you have no password yet, ask for a code to choose one, with this
address and the name {tenant} (POST /v1/account/password/request).

If you do not expect this, do nothing.
""",
    ),
}

_log: Final = structlog.stdlib.get_logger(__name__)


class Letters:
    """Writes what is owed: to one person at most one letter of a kind in an hour, whoever caused how many."""

    def __init__(self, database: Database, mail: MailQueue) -> None:
        self._database = database
        self._mail = mail
        self._repository = LetterRepository()

    async def send_owed(self) -> int:
        """Put what is owed in the mail, a transaction for each letter; how many that were."""
        async with self._database.statement_without_scope() as connection:
            owed = await self._repository.list_owed(connection, _BATCH)
        sent = 0
        for tenant_id, recipient_id, kind in owed:
            try:
                sent += await self._send(ActorScope(tenant_id, recipient_id), kind)
            except DATABASE_GONE:
                raise
            # Whatever one letter meets must not keep the others for ever.
            except Exception as error:  # noqa: BLE001
                _log.error("letter_not_sent", recipient_id=str(recipient_id), exc_info=error)
        return sent

    async def forget(self) -> int:
        """Forget what was sent more than a day ago; how many letters that were."""
        async with self._database.statement_without_scope() as connection:
            return await self._repository.forget(connection, _FORGOTTEN)

    async def _send(self, scope: ActorScope, kind: LetterKind) -> bool:
        async with self._database.transaction(scope) as transaction:
            owed = await self._repository.lock_owed(transaction, scope.principal_id, kind)
            if not owed or await self._repository.is_paused(transaction, scope.principal_id, kind):
                return False
            await self._repository.mark_sent(transaction, owed)
            recipient = await self._repository.find_recipient(transaction, scope.principal_id)
            message = None
            if recipient is not None:
                message = write_letter(kind, recipient["email"], recipient["tenant_name"])
            if message is None:
                return False  # nobody who could be written to
            await self._mail.send(transaction, scope, message)
            return True


def write_letter(kind: LetterKind, address: str, tenant_name: str) -> Message | None:
    """A letter; None when no mail can be sent to such an address."""
    subject, text = _TEXTS[kind]
    try:
        return Message(
            address,
            f"{subject}: {tenant_name[:_SUBJECT_NAME]}",
            text.format(tenant=tenant_name),
        )
    except InvalidMessageError:
        return None
