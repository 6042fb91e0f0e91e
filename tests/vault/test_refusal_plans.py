"""Whoever is refused a document costs the database a few looks, however many keys there are."""

from tests.conftest import MakeScope
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import Cardinality
from undercroft.vault.repository import _QUERIES


async def test_a_document_and_its_key_are_found_by_an_index_or_not_at_all(
    database: Database, make_scope: MakeScope
) -> None:
    sql = _QUERIES._sql("find_document_owner", Cardinality.MAYBE)
    async with database.transaction(await make_scope()) as transaction:
        # A scan is left only where no index can be used.
        await transaction.execute("SET LOCAL enable_seqscan = off")
        plan = await transaction.fetch(f"EXPLAIN {sql}", IdSource().new())
    conditions = [row[0] for row in plan if "Index Cond" in row[0]]
    assert [each for each in conditions if "id = CASE" in each]
    assert not [row[0] for row in plan if "Seq Scan" in row[0]]
