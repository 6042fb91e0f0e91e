"""What the tests of identity share."""

import pytest

from tests.conftest import MakeScope
from tests.identity.credentials import Desk
from undercroft.kit.database import Database


@pytest.fixture
def desk(database: Database, make_scope: MakeScope) -> Desk:
    """Issues credentials."""
    return Desk(database, make_scope)
