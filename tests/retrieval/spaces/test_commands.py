"""``undercroft embeddings``, from the first step of a move to its last."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.conftest import MakeScope, Member
from tests.database_server import withdraw_public_rights
from tests.retrieval.spaces.conftest import PROJECTED, Move
from undercroft.commands import spaces
from undercroft.commands.databases import bring_up_to_date
from undercroft.kit.errors import NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.settings import Settings, SettingsError
from undercroft.operations.errors import OperationError
from undercroft.retrieval.embedding.models import MINILM
from undercroft.retrieval.spaces.errors import BackfillIncompleteError, ModelInUseError

TEXTS = {"clock.txt": "The clock was repaired.", "boat.txt": "The ferry leaves at seven."}


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    return await make_scope()


@pytest.fixture
async def before(database_urls: DatabaseUrls, tmp_path: Path) -> Settings:
    """As the service was: the built-in model."""
    await withdraw_public_rights(database_urls)
    return Settings(
        data_dir=tmp_path,
        database_url=SecretStr(database_urls.service),
        migration_url=SecretStr(database_urls.migration),
    )


@pytest.fixture
def moving(before: Settings, embeddings_url: str) -> Settings:
    """With the incoming model."""
    changes = {
        "incoming_embedding_model": PROJECTED.name,
        "incoming_embedding_url": embeddings_url,
        "incoming_embedding_dimensions": PROJECTED.dimensions,
    }
    return before.model_copy(update=changes)


@pytest.fixture
def after(before: Settings, embeddings_url: str) -> Settings:
    """With the new model alone."""
    changes = {
        "embedding_model": PROJECTED.name,
        "embedding_url": embeddings_url,
        "embedding_dimensions": PROJECTED.dimensions,
    }
    return before.model_copy(update=changes)


def unheard(phase: str, done: int, total: int) -> None:
    del phase, done, total


async def test_from_one_model_to_another(
    move: Move, ann: Member, before: Settings, moving: Settings, after: Settings
) -> None:
    database = move.shelf.database
    await move.before.fill(ann, TEXTS)
    with pytest.raises(SettingsError, match=MINILM.name):
        await spaces.require_models(after, database)
    await spaces.require_models(moving, database)
    with pytest.raises(OperationError, match="no worker could"):
        await spaces.begin_backfill(before, PROJECTED.name, None)
    with pytest.raises(BackfillIncompleteError):
        await spaces.switch(moving, PROJECTED.name, None, None)
    assert await spaces.begin_backfill(moving, PROJECTED.name, None) == 1
    assert await spaces.pause_backfill(moving, PROJECTED.name, None) == 1
    assert await move.backfill().go_on() == 0
    await spaces.begin_backfill(moving, PROJECTED.name, None)
    await move.backfill().go_on()
    await spaces.switch(moving, PROJECTED.name, None, None)
    with pytest.raises(SettingsError, match=PROJECTED.name):
        await spaces.require_models(before, database)
    for name in (MINILM.name, PROJECTED.name):
        with pytest.raises(ModelInUseError, match="the settings name it"):
            await spaces.retire(moving, name, unheard)
    await spaces.require_models(after, database)
    assert await spaces.rebuild(after, PROJECTED.name, unheard, only_if_worn=True) is False
    assert await spaces.rebuild(after, PROJECTED.name, unheard, only_if_worn=False) is True
    for _ in range(2):  # as when the first time was interrupted
        await spaces.retire(after, MINILM.name, unheard)
    (old, no_index, _, _), (new, health, _, (progress,)) = await spaces.describe_models(after, None)
    assert (old.name, old.retired_at is None, no_index) == (MINILM.name, False, None)
    assert (new.name, new.is_default, progress.embedded) == (PROJECTED.name, True, 2)
    assert health is not None
    assert await move.embedded(ann, MINILM) == (0, 2)
    with pytest.raises(NotFoundError):
        await spaces.switch(moving, MINILM.name, None, None)


async def test_where_nothing_is_indexed_the_model_of_the_settings_is_taken(
    move: Move, ann: Member, database_urls: DatabaseUrls, before: Settings, after: Settings
) -> None:
    await bring_up_to_date(database_urls, after)
    await spaces.require_models(after, move.shelf.database)
    await bring_up_to_date(database_urls, before)
    await spaces.require_models(before, move.shelf.database)
    await move.before.fill(ann, TEXTS)
    await bring_up_to_date(database_urls, after)
    with pytest.raises(SettingsError, match=MINILM.name):
        await spaces.require_models(after, move.shelf.database)


async def test_nothing_is_switched_when_one_tenant_is_not_complete(
    move: Move, ann: Member, make_scope: MakeScope, moving: Settings
) -> None:
    await move.shelf.fill(ann, TEXTS)
    await move.before.fill(await make_scope(), TEXTS)
    with pytest.raises(BackfillIncompleteError):
        await spaces.switch(moving, PROJECTED.name, None, None)
    assert not any(it.is_used for it in await move.spaces.list_models() if it.name != MINILM.name)
