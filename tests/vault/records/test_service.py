"""Records are checked, encrypted, versioned, found, and nobody else's."""

import pytest

from tests.conftest import MakeScope
from tests.records import ANN, ANY, PERSON, Cabinet, changed, ids_of, made_from
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.vault.records.errors import (
    PlainFieldTooLargeError,
    RecordTooLargeError,
    UnknownFieldError,
)
from undercroft.vault.records.models import Condition, Record, RecordPage
from undercroft.vault.schemas.errors import SchemaMismatchError, StaleVersionError
from undercroft.vault.schemas.models import Definition


async def test_a_record_is_read_as_it_was_made(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    assert record.data == ANN
    assert (record.version, record.latest, record.schema_version) == (1, 1, 1)
    assert await cabinet.records.get(ann, record.id) == record
    assert set(record.keys) == {"", "/email", "/health"}
    assert len({key.material for key in record.keys.values()}) == 3


async def test_only_plain_fields_stand_in_the_clear(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    async with cabinet.database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT r::text AS row FROM records AS r UNION ALL SELECT p::text FROM record_parts AS p"
            " UNION ALL SELECT v::text FROM record_versions AS v"
            " UNION ALL SELECT d::text FROM record_digests AS d"
            " UNION ALL SELECT s::text FROM schemas AS s"
            " UNION ALL SELECT s::text FROM schema_versions AS s"
        )
    text = "\n".join(row["row"] for row in rows)
    assert "Ulm" in text
    for value in ("Ann", "ann@example.org", "nuts", "person", "maxLength"):
        assert value not in text
        assert value.encode().hex() not in text
    assert record.schema_id.hex in text.replace("-", "")


async def test_each_change_is_a_version_and_the_old_ones_stay(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first = await cabinet.ann(ann)
    second = await cabinet.records.update(ann, first.id, made_from(first), changed(city="Bonn"))
    third = await cabinet.records.update(
        ann, first.id, made_from(second), lambda _: {"name": "Ann"}
    )
    assert (third.version, third.data) == (3, {"name": "Ann"})
    old = await cabinet.records.get(ann, first.id, 1)
    assert (old.version, old.latest, old.data) == (1, 3, ANN)
    versions = await cabinet.records.list_versions(ann, first.id, 0, 10)
    assert [version.version for version in versions] == [1, 2, 3]
    assert [v.version for v in await cabinet.records.list_versions(ann, first.id, 1, 1)] == [2]
    with pytest.raises(NotFoundError):
        await cabinet.records.get(ann, first.id, 4)


async def test_a_change_made_from_an_older_version_is_refused(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first = await cabinet.ann(ann)
    await cabinet.records.update(ann, first.id, made_from(first), changed(city="Bonn"))
    with pytest.raises(StaleVersionError):
        await cabinet.records.update(ann, first.id, made_from(first), changed(age=41))
    with pytest.raises(StaleVersionError):
        await cabinet.records.delete(ann, first.id, made_from(first))
    assert (await cabinet.records.get(ann, first.id)).version == 2


async def test_data_that_the_schema_does_not_allow_is_refused_without_being_quoted(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    with pytest.raises(SchemaMismatchError) as refused:
        await cabinet.records.create(ann, record.schema_id, {"name": "Bob", "age": -7351})
    assert refused.value.param == "/age"
    assert "7351" not in refused.value.message
    with pytest.raises(SchemaMismatchError) as refused:
        await cabinet.records.update(ann, record.id, ANY, changed(secretmember=1))
    assert "secretmember" not in refused.value.message
    with pytest.raises(UndercroftError, match="object"):
        await cabinet.records.update(ann, record.id, ANY, lambda _: [1])
    assert (await cabinet.records.get(ann, record.id)).version == 1


async def test_too_large_a_record_is_refused(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    schema = await cabinet.schemas.create(ann, "any", Definition({"type": "object"}))
    with pytest.raises(RecordTooLargeError):
        await cabinet.records.create(ann, schema.id, {"text": "x" * 256 * 1024})
    assert await cabinet.count(ann, "records") == 0
    assert await cabinet.count(ann, "data_keys") == 1


async def test_another_users_record_is_not_there_and_the_refusal_is_on_record(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    eve = await make_scope()
    record = await cabinet.ann(ann)
    for other in (bob, eve):
        with pytest.raises(NotFoundError):
            await cabinet.records.get(other, record.id)
        with pytest.raises(NotFoundError):
            await cabinet.records.update(other, record.id, ANY, changed(age=1))
        with pytest.raises(NotFoundError):
            await cabinet.records.delete(other, record.id, ANY)
        with pytest.raises(NotFoundError):
            await cabinet.records.list_versions(other, record.id, 0, 10)
        page = await cabinet.records.list_records(other, None, None, 10)
        assert page == RecordPage([], has_more=False)
    found = await cabinet.records.search(
        bob, record.schema_id, [Condition("/name", "Ann")], None, 10
    )
    assert found.records == []
    denied = [action for action, outcome in await cabinet.actions(ann) if outcome == "denied"]
    assert denied == ["record.read", "record.update", "record.delete", "record.read"]
    # To her tenant it is an id of nothing.
    assert {outcome for _, outcome in await cabinet.actions(eve)} == {"denied"}


async def test_every_act_is_in_the_ledger(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    await cabinet.records.get(ann, record.id)
    await cabinet.records.update(ann, record.id, ANY, changed(age=41))
    await cabinet.records.list_records(ann, None, None, 10)
    await cabinet.records.search(ann, record.schema_id, [Condition("/city", "Ulm")], None, 10)
    await cabinet.records.delete(ann, record.id, ANY)
    assert [action for action, _ in await cabinet.actions(ann)] == [
        "schema.create",
        "record.create",
        "record.read",
        "record.update",
        "record.read",
        "record.search",
        "record.read",
        "record.delete",
    ]


async def test_records_are_found_by_plain_and_indexed_fields(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    schema = await cabinet.person_schema(ann)
    made = [
        await cabinet.records.create(
            ann, schema.id, {"name": name, "city": city, "email": f"{name}@example.org"}
        )
        for name, city in (("Ann", "Ulm"), ("Bob", "Ulm"), ("Ann", "Bonn"))
    ]
    first, second, third = ids_of(made)

    async def find(**fields: str) -> list[object]:
        conditions = [Condition(f"/{name}", value) for name, value in fields.items()]
        page = await cabinet.records.search(ann, schema.id, conditions, None, 10)
        return list(ids_of(page.records))

    assert await find(city="Ulm") == [first, second]
    assert await find(name="Ann") == [first, third]
    assert await find(name="Ann", city="Ulm") == [first]
    assert await find(name="Ann", email="Bob@example.org") == []
    assert await find(name="ann") == []
    page = await cabinet.records.search(ann, schema.id, [Condition("/city", "Ulm")], first, 10)
    assert ids_of(page.records) == [second]
    page = await cabinet.records.search(ann, schema.id, [Condition("/name", "Ann")], first, 10)
    assert ids_of(page.records) == [third]
    with pytest.raises(UnknownFieldError):
        await find(age="40")
    await cabinet.records.update(ann, first, ANY, changed(name="Zoe", city="Kiel"))
    assert await find(name="Ann") == [third]
    assert await find(city="Ulm") == [second]
    assert await find(name="Zoe", city="Kiel") == [first]


async def test_plain_fields_are_small_where_they_are_kept_and_where_they_are_looked_for(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    """Of two arrays of 19,000 numbers, one look-up took the database 13 s for each record that has one."""
    ann = await make_scope()
    schema = await cabinet.schemas.create(ann, "tagged", Definition({}, plain_fields=("/tags",)))
    most = list(range(10, 540))
    kept = await cabinet.records.create(ann, schema.id, {"tags": most})
    with pytest.raises(PlainFieldTooLargeError) as refused:
        await cabinet.records.create(ann, schema.id, {"tags": list(range(1_000))})
    assert refused.value.param == "/tags"
    with pytest.raises(PlainFieldTooLargeError):
        await cabinet.records.update(ann, kept.id, ANY, changed(tags=list(range(1_000))))
    page = await cabinet.records.search(ann, schema.id, [Condition("/tags", most)], None, 10)
    assert ids_of(page.records) == [kept.id]
    many = [Condition("/tags", list(range(1_000)))]
    with pytest.raises(PlainFieldTooLargeError):
        await cabinet.records.search(ann, schema.id, many, None, 10)
    other = await cabinet.records.create(ann, schema.id, {"long": list(range(1_000))})
    await cabinet.schemas.add_version(ann, schema.id, Definition({}, plain_fields=("/long",)))
    tried = await cabinet.migrations.try_out(ann, schema.id, None, [])
    assert [failure.record_id for failure in tried.failures] == [other.id]


async def test_a_digest_tells_values_of_two_tenants_or_fields_apart(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann, eve = await make_scope(), await make_scope()
    schema = await cabinet.person_schema(ann)
    async with cabinet.database.transaction(ann) as transaction:
        ours = await cabinet.storage.digest(transaction, ann, schema.id, "/name", "x")
        other = await cabinet.storage.digest(transaction, ann, schema.id, "/email", "x")
    async with cabinet.database.transaction(eve) as transaction:
        theirs = await cabinet.storage.digest(transaction, eve, schema.id, "/name", "x")
    assert len({ours, other, theirs}) == 3


async def test_a_deleted_record_leaves_no_row_and_no_key(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    await cabinet.records.update(ann, record.id, ANY, changed(age=41))
    kept = await cabinet.count(ann, "data_keys")
    await cabinet.records.delete(ann, record.id, ANY)
    for table in ("records", "record_versions", "record_parts", "record_digests"):
        assert await cabinet.count(ann, table) == 0
    assert await cabinet.count(ann, "data_keys") == kept - 3
    with pytest.raises(NotFoundError):
        await cabinet.records.get(ann, record.id)


async def test_records_are_listed_in_pages(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    schema, other = await cabinet.person_schema(ann), await cabinet.person_schema(ann)
    first = await cabinet.records.create(ann, schema.id, ANN)
    second = await cabinet.records.create(ann, other.id, ANN)
    third = await cabinet.records.create(ann, schema.id, ANN)
    everything = (await cabinet.records.list_records(ann, None, None, 10)).records
    assert ids_of(everything) == [first.id, second.id, third.id]
    assert isinstance(everything[1], Record)
    assert everything[1].data == ANN
    page = await cabinet.records.list_records(ann, None, first.id, 1)
    assert (ids_of(page.records), page.has_more) == ([second.id], True)
    page = await cabinet.records.list_records(ann, schema.id, None, 10)
    assert (ids_of(page.records), page.has_more) == ([first.id, third.id], False)
    # What only tells that there are more was not read.
    assert [action for action, _ in await cabinet.actions(ann)].count("record.read") == 3 + 1 + 2


async def test_large_records_make_a_page_short(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    schema = await cabinet.schemas.create(ann, "anything", Definition({}))
    made = [
        await cabinet.records.create(ann, schema.id, {"text": "x" * 250_000, "number": number})
        for number in range(9)
    ]
    seen: list[object] = []
    sizes: list[int] = []
    page = RecordPage([], has_more=True)
    while page.has_more:
        after = page.records[-1].id if page.records else None
        page = await cabinet.records.list_records(ann, schema.id, after, 100)
        seen += ids_of(page.records)
        sizes.append(len(page.records))
    assert (seen, sizes) == (ids_of(made), [4, 4, 1])
    await cabinet.schemas.add_version(ann, schema.id, Definition({}))
    tried = await cabinet.migrations.try_out(ann, schema.id, None, [])
    assert (tried.valid, tried.invalid, tried.is_complete) == (9, 0, True)


async def test_large_schemas_make_a_page_short(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    large = Definition({"description": "x" * 65_000})
    made = [await cabinet.schemas.create(ann, str(number), large) for number in range(20)]
    page = await cabinet.schemas.list_schemas(ann, None, 100)
    assert (len(page.schemas), page.has_more) == (16, True)
    page = await cabinet.schemas.list_schemas(ann, page.schemas[-1].id, 100)
    assert [schema.id for schema in page.schemas] == [schema.id for schema in made[16:]]
    assert not page.has_more


async def test_numbers_and_nested_fields_come_back_as_they_were(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    definition = Definition({"type": "object"}, sensitive_fields=("/a/b", "/c"))
    schema = await cabinet.schemas.create(ann, "any", definition)
    data = {"a": {"b": [1e20, 1.5, -0.25], "x": None}, "n": 1e300, "t": [True, 1, "ü\u2028"]}
    record = await cabinet.records.create(ann, schema.id, data)
    assert record.data == data
    again = await cabinet.records.update(ann, record.id, ANY, changed(c=1e21))
    assert again.data == {**data, "c": 1e21}


async def test_a_schema_with_records_cannot_be_deleted(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    with pytest.raises(UndercroftError) as refused:
        await cabinet.schemas.delete(ann, record.schema_id)
    assert refused.value.code == "schema_in_use"
    await cabinet.records.delete(ann, record.id, ANY)
    await cabinet.schemas.delete(ann, record.schema_id)
    for table in ("schemas", "schema_versions"):
        assert await cabinet.count(ann, table) == 0


async def test_a_record_stays_at_its_schemas_version(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    stricter = Definition({**PERSON.schema, "required": ["name", "iban"]})
    await cabinet.schemas.add_version(ann, record.schema_id, stricter, frozenset({1}))
    with pytest.raises(StaleVersionError):
        await cabinet.schemas.add_version(ann, record.schema_id, PERSON, frozenset({1}))
    updated = await cabinet.records.update(ann, record.id, ANY, changed(age=41))
    assert (updated.schema_version, updated.version) == (1, 2)
    with pytest.raises(SchemaMismatchError):
        await cabinet.records.create(ann, record.schema_id, ANN)
