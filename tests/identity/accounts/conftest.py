"""Accounts over a real database; letters are kept for the test to read, and nobody waits for a beat."""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from tests.clocks import SetClock
from undercroft.identity.accounts.codes import Codes
from undercroft.identity.accounts.hashing import HashCost, PasswordHasher
from undercroft.identity.accounts.mailing import Mailing
from undercroft.identity.accounts.models import Client
from undercroft.identity.accounts.pace import Pace
from undercroft.identity.accounts.second_factor import AccountSecondFactors
from undercroft.identity.accounts.service import AccountService
from undercroft.identity.accounts.sign_in import SignIn
from undercroft.identity.models import Principal, Role
from undercroft.identity.second_factors.service import SecondFactors
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionTokens
from undercroft.identity.sessions.service import SessionService
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import Message
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue
from undercroft.vault.keys.service import KeyRing

CHEAP = HashCost(iterations=1, lanes=1, kibibytes=32)
PASSWORD = "a quiet stair to the cellar"
OTHER = "a lantern on the third step"
LAPTOP = Client("203.0.113.7", "Firefox")
PHONE = Client("198.51.100.9", "Safari")


class Letterbox(MailQueue):
    """The real queue, which remembers what was put into it, the oldest first; also what came to nothing after that."""

    def __init__(self, keys: RowKeys, queue: JobQueue, ids: IdSource) -> None:
        super().__init__(keys, queue, ids)
        self.letters: list[Message] = []

    async def send(self, transaction: Transaction, scope: Scope, message: Message) -> UUID:
        self.letters.append(message)
        return await super().send(transaction, scope, message)

    def code(self, to: str) -> str:
        """The code in the newest letter to somebody."""
        letter = [letter for letter in self.letters if letter.to == to][-1]
        (code,) = re.findall(r"uc_[0-9A-Za-z_-]{43}", letter.text)
        return str(code)


@dataclass
class Beats:
    """Stands for sleeping: remembers for how long."""

    slept: list[float] = field(default_factory=list[float])

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything about accounts."""

    identity: IdentityService
    sessions: SessionService
    accounts: AccountService
    mailing: Mailing
    sign_in: SignIn
    factors: SecondFactors
    second_factor: AccountSecondFactors
    hasher: PasswordHasher
    post: Letterbox
    beats: Beats
    clock: SetClock
    """Of which moment a code is; all else goes by the time of day."""

    async def make_person(
        self, email: str, tenant: str = "acme", role: Role | None = None
    ) -> Principal:
        """A person with :data:`PASSWORD`, by their API key."""
        person = (await self.identity.issue_key(tenant, email, role)).principal
        await self.mailing.ask_for_password(tenant, email, PHONE)
        await self.accounts.use_password_code(self.post.code(email), PASSWORD, PHONE)
        return person

    async def enter(
        self, email: str, password: str = PASSWORD, client: Client = LAPTOP, tenant: str = "acme"
    ) -> SessionTokens:
        opened = await self.sign_in.sign_in(tenant, email, password, client)
        assert isinstance(opened, SessionTokens)
        return opened


@pytest.fixture
async def parts(database: Database, tmp_path: Path) -> AsyncGenerator[Parts]:
    ids, clock, beats = IdSource(), SystemClock(), Beats()
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), ids)
    post = Letterbox(keys, JobQueue(ids), ids)
    ledger = Ledger(database, ids, clock)
    identity = IdentityService(database, ledger, ids, clock)
    sessions, moment = SessionService(database, ledger, ids), SetClock()
    moment.seconds = 1_800_000_000.0
    factors = SecondFactors(database, keys, moment)
    hasher, codes, pace = (
        PasswordHasher(CHEAP, waiting=200),
        Codes(database, ids),
        Pace(clock, beats.sleep),
    )
    accounts = AccountService(database, ledger, sessions, factors, hasher, codes, post, ids)
    yield Parts(
        identity,
        sessions,
        accounts,
        Mailing(database, ledger, identity, codes, post, pace),
        SignIn(database, ledger, identity, sessions, factors, hasher, post, pace),
        factors,
        AccountSecondFactors(database, ledger, accounts, factors, sessions, hasher, post),
        hasher,
        post,
        beats,
        moment,
    )
    hasher.close()
