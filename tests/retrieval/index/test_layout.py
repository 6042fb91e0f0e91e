"""How passages lie on the disk: what all candidates of a search are ranked by is near, what few are read of is not."""

import random

import pytest

from tests import rows
from tests.conftest import MakeScope
from undercroft.kit.database import Database
from undercroft.retrieval.chunking import Chunk
from undercroft.retrieval.index.models import SealedChunk
from undercroft.retrieval.index.repository import IndexRepository

_SEALED = 1_000
"""Bytes of a passage's sealed text."""


# Different words in a passage: as many as usual, and more than a chunk of the built-in model has.
@pytest.mark.parametrize("words", [100, 150])
async def test_a_passages_weights_are_in_its_row_as_they_are_and_what_is_read_of_few_is_not(
    database: Database, make_scope: MakeScope, words: int
) -> None:
    ann, index, draw = await make_scope(), IndexRepository(), random.Random(1)
    texts = [" ".join(f"w{draw.getrandbits(40):x}" for _ in range(words)) for _ in range(20)]
    chunks = [
        SealedChunk(Chunk(ordinal, 0, len(text), None, (), 1), draw.randbytes(_SEALED), text)
        for ordinal, text in enumerate(texts)
    ]
    async with database.transaction(ann) as transaction:
        blob_id = await rows.insert_blob(transaction, ann)
        ids = await index.allocate_chunk_ids(transaction, len(chunks))
        await index.insert_chunks(transaction, blob_id, "english", ids, chunks)
        stored = await transaction.fetch(
            "SELECT pg_column_toast_chunk_id(terms) IS NULL AS is_near,"
            " pg_column_compression(terms) AS compression, pg_column_size(terms) AS size,"
            " pg_column_toast_chunk_id(lexemes) IS NOT NULL AND"
            " pg_column_toast_chunk_id(sealed_text) IS NOT NULL AS is_the_rest_apart FROM chunks"
        )
    assert len(stored) == len(texts)
    assert {(row["is_near"], row["compression"]) for row in stored} == {(True, None)}
    assert {row["is_the_rest_apart"] for row in stored} == {True}
    assert min(row["size"] for row in stored) > 8 * words
