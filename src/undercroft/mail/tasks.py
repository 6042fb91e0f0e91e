"""The job that sends mail, and the chore that forgets what no job sends any more."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from undercroft.jobs.errors import JobFailedError
from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import JobFailure, Payload
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.mail.protocol import Mailer, MailNotSentError
from undercroft.kit.scope import Scope
from undercroft.ledger.models import LogScope
from undercroft.mail.models import SEND_JOB, open_message
from undercroft.mail.repository import MailRepository

_SEND_SECONDS: Final = 60.0
_AT_ONCE: Final = 4
_BATCH: Final = 100


class MailTasks:
    """Hands queued mail over.

    Args:
        database: Where it is.
        keys: Open it.
        mailer: Takes it.
    """

    def __init__(self, database: Database, keys: RowKeys, mailer: Mailer) -> None:
        self._database = database
        self._keys = keys
        self._mailer = mailer
        self._repository = MailRepository()

    def handlers(self) -> Mapping[str, JobHandler]:
        """What a worker registers."""
        return {SEND_JOB: JobHandler(self.send_mail, _SEND_SECONDS, _AT_ONCE, self.give_up)}

    async def send_mail(self, context: JobContext) -> None:
        """Send one message and forget it.

        Raises:
            JobFailedError: When it was not taken.
        """
        mail_id, scope = _mail_id(context.payload), context.scope
        async with self._database.transaction(scope) as transaction:
            row = await self._repository.find_mail(transaction, mail_id)
            if row is None:
                return
            key = await self._keys.open(row)
        message = open_message(key.material, row["sealed_message"], row["tenant_id"], mail_id)
        try:
            await self._mailer.send(message, mail_id=mail_id, dated=row["created_at"])
        except MailNotSentError as error:
            raise JobFailedError("mail_not_sent", str(error), permanent=error.permanent) from error
        # No fence: whoever else has it now finds it gone, or sends the same message with the same id.
        async with self._database.transaction(scope) as transaction:
            await self._repository.delete_mail(transaction, mail_id)

    async def give_up(
        self, transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
    ) -> None:
        """Forget a message that could not be sent: the code in it is not for whoever mends the server later."""
        del scope, failure
        await self._repository.delete_mail(transaction, _mail_id(payload))

    async def forget_overdue(self) -> int:
        """Delete mail of more than a day ago; how much there was."""
        async with self._database.statement_without_scope() as connection:
            overdue = await self._repository.list_overdue_mail(connection, _BATCH)
        for tenant_id, mail_id in overdue:
            async with self._database.transaction(LogScope(tenant_id)) as transaction:
                await self._repository.delete_mail(transaction, mail_id)
        return len(overdue)


def _mail_id(payload: Payload) -> UUID:
    return UUID(hex=str(payload["mail"]))
