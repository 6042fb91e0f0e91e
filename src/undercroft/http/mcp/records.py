"""Records as tools: their schemas, and those of a schema, listed, found by their fields, or one of them."""

from typing import Annotated, Any, Final

from pydantic import Field

from undercroft.http.mcp.tools import MODEL_USE, After, Call, Limit, PageArguments, Tool
from undercroft.http.objects import (
    DamagedRecordObject,
    DamagedSchemaObject,
    Page,
    RecordObject,
    SchemaObject,
)
from undercroft.http.record_views import render_record, render_records, require_record_id
from undercroft.http.schema_views import render_schemas, require_schema_id
from undercroft.http.wire import JsonObject, RequestBody
from undercroft.identity.models import Permission
from undercroft.vault.records.models import Condition

_SchemaId = Annotated[str, Field(alias="schema", max_length=64, description="`schema_...`")]


class ListRecordsArguments(RequestBody):
    """Which part of the list, of one schema or of all."""

    schema_id: Annotated[str | None, Field(alias="schema", max_length=64)] = None
    limit: Limit = 20
    after: After = None


class FindRecordsArguments(RequestBody):
    """Which records: those whose fields have all of these values."""

    schema_id: _SchemaId
    fields: Annotated[
        dict[Annotated[str, Field(max_length=256)], Any],
        Field(
            min_length=1,
            max_length=16,
            description="JSON Pointers of plain or indexed fields of the schema, and the values they have to have.",
        ),
    ]
    limit: Limit = 20
    after: After = None


class GetRecordArguments(RequestBody):
    """Which record."""

    record: Annotated[str, Field(max_length=64, description="A record's id: `rec_...`.")]


async def _list_schemas(call: Call, arguments: PageArguments) -> JsonObject:
    after = None if arguments.after is None else require_schema_id(arguments.after)
    return render_schemas(
        await call.services.vault.schemas.list_schemas(call.caller, after, arguments.limit)
    )


async def _list_records(call: Call, arguments: ListRecordsArguments) -> JsonObject:
    schema_id = None if arguments.schema_id is None else require_schema_id(arguments.schema_id)
    after = None if arguments.after is None else require_record_id(arguments.after, "after")
    page = await call.services.vault.records.list_records(
        call.caller, schema_id, after, arguments.limit, MODEL_USE
    )
    return render_records(page)


async def _find_records(call: Call, arguments: FindRecordsArguments) -> JsonObject:
    page = await call.services.vault.records.search(
        call.caller,
        require_schema_id(arguments.schema_id),
        [Condition(field, value) for field, value in arguments.fields.items()],
        None if arguments.after is None else require_record_id(arguments.after, "after"),
        arguments.limit,
        MODEL_USE,
    )
    return render_records(page)


async def _get_record(call: Call, arguments: GetRecordArguments) -> JsonObject:
    record_id = require_record_id(arguments.record)
    record = await call.services.vault.records.get(call.caller, record_id, model_use=MODEL_USE)
    return render_record(record)


LIST_SCHEMAS: Final = Tool(
    name="list_schemas",
    title="List schemas",
    description="The kinds of records that there are, each with its JSON Schema, oldest first.",
    permission=Permission.RECORDS_READ,
    arguments=PageArguments,
    result=Page[SchemaObject | DamagedSchemaObject],
    run=_list_schemas,
    for_links=False,
)
LIST_RECORDS: Final = Tool(
    name="list_records",
    title="List records",
    description="Records that the user may find, oldest first, of one schema if it is named.",
    permission=Permission.RECORDS_READ,
    arguments=ListRecordsArguments,
    result=Page[RecordObject | DamagedRecordObject],
    run=_list_records,
)
FIND_RECORDS: Final = Tool(
    name="find_records",
    title="Find records by their fields",
    description="Records of a schema whose fields have all of the values that are named, oldest first.",
    permission=Permission.RECORDS_READ,
    arguments=FindRecordsArguments,
    result=Page[RecordObject | DamagedRecordObject],
    run=_find_records,
)
GET_RECORD: Final = Tool(
    name="get_record",
    title="Get a record",
    description="A record's data, as far as it was shared with the user.",
    permission=Permission.RECORDS_READ,
    arguments=GetRecordArguments,
    result=RecordObject,
    run=_get_record,
)
