"""A ledger over a real database, its sequencer stepped by the tests."""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from tests.owner import past_policies
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.aead import seal, unseal
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.audit import AuditService
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.rotation import SigningKeyRotation
from undercroft.ledger.sequencer import Sequencer, SequencerSettings
from undercroft.ledger.service import Ledger

ORIGIN = "undercroft.local"


class MemoryKey:
    """A key provider with one key, which it forgets with the test."""

    name = "memory"

    def __init__(self) -> None:
        self._key = bytes(range(32))
        self.unwrapped = 0

    async def wrap(self, key: bytes, context: bytes) -> bytes:
        return seal(self._key, key, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        self.unwrapped += 1
        return unseal(self._key, wrapped, context)

    def is_current(self, wrapped: bytes) -> bool:
        return bool(wrapped)


@dataclass(frozen=True, slots=True)
class Parts:
    """One process's ledger."""

    ledger: Ledger
    keys: LogKeys
    sequencer: Sequencer
    reader: LedgerReader
    audit: AuditService
    rotation: SigningKeyRotation


def make_parts(database: Database, batch: int = 1024) -> Parts:
    clock = SystemClock()
    keys = LogKeys(database, MemoryKey(), ORIGIN)
    sequencer = Sequencer(database, keys, SequencerSettings(batch=batch))
    reader = LedgerReader(database, keys, sequencer, clock)
    ledger = Ledger(database, IdSource(), clock, sequencer.wake)
    return Parts(
        ledger,
        keys,
        sequencer,
        reader,
        AuditService(database, reader, ledger),
        SigningKeyRotation(database, keys, ledger),
    )


def act(number: int = 0, action: str = "document.read", **more: object) -> Act:
    """Something done with the file of that number."""
    salt = hashlib.sha256(number.to_bytes(8)).digest()
    return Act(action, Subject(f"file-{number:032x}", salt), **{"owner_id": None, **more})  # pyright: ignore[reportArgumentType] - the fields of Act


@pytest.fixture
def parts(database: Database) -> Parts:
    return make_parts(database)


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    """The database's owner, made to see past every policy: it stands for whoever steals the disk."""
    tables = [f"ledger_{name}" for name in ("logs", "keys", "pending", "entries", "tiles")]
    async with past_policies(database_urls, *tables) as connection:
        yield connection
