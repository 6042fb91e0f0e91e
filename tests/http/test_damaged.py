"""What does not open is an item of its list like the others, and says that it is damaged."""

from datetime import UTC, datetime

from undercroft.http import record_views, schema_views
from undercroft.kit.ids import IdSource
from undercroft.vault.keys.models import DataKey
from undercroft.vault.records.models import DamagedRecord, Record
from undercroft.vault.schemas.models import DamagedSchema, Definition, Schema

ID = IdSource().new()
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_damaged_record_has_the_members_of_a_whole_one() -> None:
    key = DataKey(ID, bytes(32), bytes(32))
    whole = record_views._describe_record(
        Record(ID, ID, ID, 1, 2, 2, {"a": 1}, NOW, NOW, {"": key})
    )
    damaged = record_views._describe_record(DamagedRecord(ID, ID, ID, 1, 2, NOW, NOW))
    assert damaged.pop("error")["code"] == "content_damaged"
    assert damaged == {**whole, "data": None}


def test_a_damaged_schema_says_so() -> None:
    whole = schema_views.describe_schema(
        Schema(ID, ID, "person", 1, 2, Definition({}), NOW, bytes(32))
    )
    damaged = schema_views.describe_schema(DamagedSchema(ID, ID, 1, 2, NOW))
    assert damaged.pop("error")["code"] == "content_damaged"
    assert damaged["schema"] is None
    assert damaged.items() <= {**whole, "name": None, "schema": None}.items()
