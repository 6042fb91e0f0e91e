"""A document is found by its words in any form that its language gives them, whatever else the tenant has."""

import asyncpg
import pytest

from tests.conftest import MakeScope
from tests.shelf import Shelf
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.languages import DICTIONARIES, WITHOUT_DICTIONARY
from undercroft.retrieval.search.models import Leg, SearchQuery

LETTERS = {
    "english.txt": "The tenants are paying their deposits before the keys are handed over to them.",
    "german.txt": "Die Mieter zahlen ihre Kautionen, bevor ihnen die Schlüssel übergeben werden.",
    "french.txt": "Les locataires versent leurs cautions avant que les clés ne leur soient remises.",
    "russian.txt": "Арендаторы вносят залоги до того, как им передадут ключи от квартиры.",
    "japanese.txt": "借主は鍵を受け取る前に、家賃二か月分の敷金を支払います。",
    "chinese.txt": "租客在拿到钥匙之前要向房东支付两个月的押金。",
    "korean.txt": "세입자는 열쇠를 받기 전에 두 달치 보증금을 냅니다.",
    "thai.txt": "ผู้เช่าต้องจ่ายเงินมัดจำสองเดือนก่อนรับกุญแจ",
    "hindi.txt": "किरायेदार चाबी मिलने से पहले दो महीने का किराया जमा करता है।",
}
QUESTIONS = {
    "english.txt": "deposit paid",
    "german.txt": "Kaution des Mieters",
    "french.txt": "caution versée",
    "russian.txt": "залог арендатора",
    "japanese.txt": "敷金はいくらですか",
    "chinese.txt": "押金是多少",
    "korean.txt": "보증금",
    "thai.txt": "เงินมัดจำ",
    "hindi.txt": "किराया",
}


async def test_a_question_finds_the_document_of_its_language_by_words_alone(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection_id, documents = await shelf.fill(ann, LETTERS)
    for name, question in QUESTIONS.items():
        query = SearchQuery((collection_id,), question, 3, frozenset({Leg.LEXICAL}))
        found = await shelf.search.search(ann, query)
        assert [it.document_id for it in found.passages][:1] == [documents[name]], name


async def test_a_tenant_of_one_language_is_asked_in_no_other(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    await shelf.fill(ann, {"german.txt": LETTERS["german.txt"]})
    await shelf.fill(bob, {"english.txt": LETTERS["english.txt"]})
    for scope, language in ((ann, "german"), (bob, "english")):
        async with shelf.database.transaction(scope) as transaction:
            kept = await transaction.fetchval("SELECT languages FROM corpus_statistics")
        assert kept == [language]


async def test_languages_are_told_apart_as_documents_come_and_forgotten_with_the_last(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    _, documents = await shelf.fill(
        ann, {name: LETTERS[name] for name in ("german.txt", "english.txt")}
    )
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT languages FROM corpus_statistics") == [
            "english",
            "german",
        ]
    for document_id in documents.values():
        await shelf.documents.delete(ann, document_id)
        async with shelf.database.transaction(ann) as transaction:
            await transaction.execute("DELETE FROM chunks WHERE tenant_id = $1", ann.tenant_id)
    await shelf.fill(ann, {"french.txt": LETTERS["french.txt"]})
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT languages FROM corpus_statistics") == ["french"]


async def test_the_database_takes_every_dictionary_and_no_other(
    database_urls: DatabaseUrls,
) -> None:
    owner = await asyncpg.connect(database_urls.migration)
    try:
        for name in {*DICTIONARIES.values(), WITHOUT_DICTIONARY}:
            assert await owner.fetchval("SELECT $1::text::search_dictionary::regconfig::text", name)
        with pytest.raises(asyncpg.CheckViolationError):
            await owner.fetchval("SELECT 'pg_temp.mine'::search_dictionary")
    finally:
        await owner.close()
