"""Links over an office, and who opens them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.identity.accounts.conftest import CHEAP, Letterbox
from tests.sharing.conftest import Office
from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.identity.service import IdentityService
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.sharing.links.models import RedeemedLink
from undercroft.sharing.links.service import ShareLinks
from undercroft.vault.keys.service import KeyRing

PASSCODE = "under the mat"


@pytest.fixture
async def letters(tmp_path: Path) -> Letterbox:
    """What carries codes to whoever opens a link."""
    ids = IdSource()
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), ids)
    return Letterbox(keys, JobQueue(ids), ids)


@pytest.fixture
async def links(office: Office, letters: Letterbox) -> AsyncGenerator[ShareLinks]:
    """Over the office, with a key to seal with."""
    ids, hasher = IdSource(), PasswordHasher(CHEAP)
    ledger = Ledger(office.database, ids, SystemClock())
    keys = letters._keys
    async with office.database.transaction(office.ann) as transaction:
        await keys.create(transaction, office.ann)
    yield ShareLinks(office.database, office.grants, ledger, keys, hasher, letters, ids)
    hasher.close()


@pytest.fixture
def identity(office: Office) -> IdentityService:
    """Whom the tokens of links are shown to."""
    ids, clock = IdSource(), SystemClock()
    return IdentityService(office.database, Ledger(office.database, ids, clock), ids, clock)


async def opened(links: ShareLinks, token: str, passcode: str | None = None) -> RedeemedLink:
    """What the holder of a link gets."""
    redeemed = await links.redeem(token, passcode, None)
    assert isinstance(redeemed, RedeemedLink)
    return redeemed
