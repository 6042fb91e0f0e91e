"""Queueing mail in the transaction that causes it."""

from typing import Final
from uuid import UUID

from undercroft.jobs.service import JobQueue
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import Message
from undercroft.kit.scope import Scope
from undercroft.mail.models import SEND_JOB, seal_message
from undercroft.mail.repository import MailRepository

_ATTEMPTS: Final = 30
"""Of a worker's backoff, which grows to five minutes: about an hour and a half."""


class MailQueue:
    """Puts mail in line.

    Args:
        keys: Seal it.
        queue: Has it sent.
        ids: Names it.
    """

    def __init__(self, keys: RowKeys, queue: JobQueue, ids: IdSource) -> None:
        self._keys = keys
        self._queue = queue
        self._ids = ids
        self._repository = MailRepository()

    async def send(self, transaction: Transaction, scope: Scope, message: Message) -> UUID:
        """Have a message sent if and only if the caller's transaction commits.

        It is sent at least once: again, with the same Message-ID, when a worker dies before it notes that it was. How
        often one person is written to is for the caller to limit.

        Args:
            transaction: Opened for ``scope``.
            scope: A user of the tenant, who sees the job among theirs; the message is in nobody's sight.
            message: What to send.

        Returns:
            The mail's id, of which its Message-ID is made.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        mail_id = self._ids.new()
        key = await self._keys.create(transaction, scope)
        sealed = seal_message(key.material, message, scope.tenant_id, mail_id)
        await self._repository.insert_mail(transaction, mail_id, key.id, sealed)
        await self._queue.enqueue(
            transaction, scope, SEND_JOB, {"mail": mail_id.hex}, max_attempts=_ATTEMPTS
        )
        return mail_id
