"""A sequencer in a process of its own: ``sequencer_process.py run|stop URL TENANT``. Prints what happens, a line each.

``run`` sequences. ``stop`` takes the tenant's log, numbers what is pending, and then does nothing more.
"""

import asyncio
import sys
from uuid import UUID

from tests.ledger.conftest import make_parts
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.ledger.models import LogScope
from undercroft.ledger.repository import LedgerRepository


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def stop(database: Database, tenant_id: UUID) -> None:
    repository = LedgerRepository()
    async with database.transaction(LogScope(tenant_id)) as transaction:
        assert await repository.lock_log(transaction) is not None
        numbered = await repository.number_pending_entries(transaction, 100)
        say(f"numbered {len(numbered.leaves)}")
        await asyncio.Event().wait()


async def main(what: str, url: str, tenant_id: UUID) -> None:
    async with Database(url, clock=SystemClock(), size=2) as database:
        if what == "stop":
            await stop(database, tenant_id)
        say("ready")
        await make_parts(database).sequencer.run()


asyncio.run(main(sys.argv[1], sys.argv[2], UUID(sys.argv[3])))
