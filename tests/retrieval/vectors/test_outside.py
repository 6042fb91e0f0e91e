"""An index outside is believed in nothing: what it proposes is asked of PostgreSQL, and so is what it does not."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import MakeScope
from tests.retrieval.search.test_at_size import draw_vectors
from tests.retrieval.vectors.archive import SHOWN, Archive, ask, fill_archive, find
from tests.retrieval.vectors.conftest import ALWAYS_ASKED, Qdrant
from undercroft.kit.database import Database
from undercroft.kit.migrations import want_outside_index
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.search.nearest import PostgresIndex
from undercroft.retrieval.vectors.models import Space
from undercroft.retrieval.vectors.outside import Compared, OutsideIndex

VECTOR = draw_vectors(1, np.random.default_rng(3))[0]


class Proposing:
    """An index that proposes these, whatever it is asked; and how much it was asked for."""

    def __init__(self, chunk_ids: Sequence[int]) -> None:
        self._chunk_ids = chunk_ids
        self.asked: list[int] = []

    async def near(
        self, space: Space, tenant_id: UUID, vector: npt.NDArray[np.float32], limit: int
    ) -> list[int]:
        del space, tenant_id, vector
        self.asked.append(limit)
        return list(self._chunk_ids[:limit])


def over(database: Database, points: Proposing, compared: Compared = ALWAYS_ASKED) -> OutsideIndex:
    return OutsideIndex(database, points, PostgresIndex(database), compared)


@pytest.fixture(autouse=True)
async def _complete(archive: Archive, database: Database, database_urls: DatabaseUrls) -> None:
    assert archive
    await want_outside_index(database_urls.migration, is_wanted=True)
    async with database.transaction_without_scope() as transaction:
        await transaction.execute("UPDATE outside_index SET is_complete = true")


async def test_what_may_not_be_searched_is_not_let_through_whoever_proposes_it(
    archive: Archive, database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    strangers = await fill_archive(database, database_urls, make_scope, documents=30)
    reader, places = archive.readers[0.1]
    readable = [archive.chunk_ids[place] for place in places]
    unreadable = sorted(set(archive.chunk_ids) - set(readable))
    hostile = [*strangers.chunk_ids, *unreadable[:40], 2**63 - 1, *readable]
    points = Proposing(hostile)
    found = await find(over(database, points), reader, ask(VECTOR))
    assert points.asked == [150]
    assert set(found) == set(readable[:SHOWN])


async def test_it_is_asked_for_more_until_enough_may_be_searched(
    archive: Archive, database: Database
) -> None:
    reader, places = archive.readers[0.1]
    readable = [archive.chunk_ids[place] for place in places]
    unreadable = sorted(set(archive.chunk_ids) - set(readable))
    # One in thirteen of the first 150, and one in ten of the first 600.
    few = [*readable[:9], *unreadable[:141], *readable[9:60], *unreadable[141:]]
    points = Proposing(few)
    found = await find(over(database, points), reader, ask(VECTOR), limit=30)
    assert points.asked == [150, 600]
    assert set(found) == set(readable[:30])


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 1.0])
async def test_however_little_it_proposes_no_less_is_found(
    archive: Archive, database: Database, share: float
) -> None:
    reader, places = archive.readers[share]
    unreadable = sorted(set(archive.chunk_ids) - {archive.chunk_ids[place] for place in places})
    for proposed in ([], archive.chunk_ids[:7], [7, *unreadable]):
        found = await find(over(database, Proposing(proposed)), reader, ask(VECTOR))
        assert found == archive.nearest(places, VECTOR, SHOWN)


async def test_where_few_documents_may_be_searched_it_is_not_asked(
    archive: Archive, database: Database
) -> None:
    points = Proposing(archive.chunk_ids)
    for share, is_asked in ((0.01, False), (0.1, True)):
        reader, places = archive.readers[share]
        index = over(database, points, Compared(documents=20, passages=20))
        found = await find(index, reader, ask(VECTOR))
        assert bool(points.asked) is is_asked
        if not is_asked:
            assert found == archive.nearest(places, VECTOR, SHOWN)


async def test_nothing_is_asked_of_it_before_it_has_everything(
    archive: Archive, database: Database
) -> None:
    async with database.transaction_without_scope() as transaction:
        await transaction.execute("UPDATE outside_index SET is_complete = false")
    points = Proposing([])
    reader, places = archive.readers[0.1]
    found = await find(over(database, points), reader, ask(VECTOR))
    assert not points.asked
    assert found == archive.nearest(places, VECTOR, SHOWN)


async def test_of_a_tenant_it_proposes_only_its_own(
    qdrant: Qdrant,
    archive: Archive,
    database: Database,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
) -> None:
    other = await fill_archive(database, database_urls, make_scope, documents=30)
    await qdrant.sync.compare()
    async with database.transaction_without_scope() as transaction:
        row = await transaction.fetchrow(
            "SELECT o.id, m.id AS model FROM outside_index AS o CROSS JOIN embedding_models AS m"
        )
    assert row is not None
    space = Space(row["id"], row["model"])
    for one in (archive, other):
        near = await qdrant.points.near(space, one.owner.tenant_id, VECTOR, 5_000)
        assert set(near) == set(one.chunk_ids)
