"""A practice that is asked for access."""

from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from tests.conftest import MakeScope
from tests.sharing.consents.conftest import Practice, open_practice
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.sharing.models import GrantAction, Resource, Terms
from undercroft.sharing.requests.models import Wish
from undercroft.sharing.requests.service import AccessRequests

READ: Final = Terms(frozenset({GrantAction.READ}))
BOTH: Final = Terms(frozenset({GrantAction.READ, GrantAction.SEARCH}))
WISH: Final = Wish(BOTH, "May I? It is for the meeting.")


@pytest.fixture
async def practice(database: Database, tmp_path: Path, make_scope: MakeScope) -> Practice:
    return await open_practice(database, tmp_path, make_scope)


@pytest.fixture
def requests(practice: Practice) -> AccessRequests:
    cabinet = practice.cabinet
    return AccessRequests(
        practice.database, practice.grants, cabinet.keys, cabinet.ledger, IdSource(), SystemClock()
    )


async def put_overdue(practice: Practice, document: Resource) -> UUID:
    """Cem's question about a document, whose time was over yesterday. Its times cannot be changed, so it is made so."""
    request_id = IdSource().new()
    await practice.execute(
        "INSERT INTO access_requests (id, tenant_id, asker_id, owner_id, document_id, sealed_content, created_at,"
        " expires_at) VALUES ($1, $2, $3, $4, $5, '', now() - interval '31 days', now() - interval '1 day')",
        request_id,
        practice.ann.tenant_id,
        practice.cem.principal_id,
        practice.ann.principal_id,
        document.id,
    )
    return request_id
