"""One of each sealed value that is neither a document's nor a record's."""

import os
from uuid import UUID

from tests.operations.conftest import Filled, insert_response
from undercroft.kit.crypto.aead import bind, seal
from undercroft.kit.database import Transaction
from undercroft.kit.ids import IdSource
from undercroft.vault.keys.models import DataKey

_SEALED = b'{"sealed":true}'


async def insert_values(filled: Filled, number: int) -> None:
    """Insert them; the ``number``-th of their kind."""
    ann, keys = filled.ann, filled.shelf.keys
    response_id = await insert_response(filled.shelf, ann)
    async with filled.shelf.database.transaction(ann) as transaction:
        own = await keys.create(transaction, ann)
        link = await keys.create(transaction, ann)
        notice = await keys.create(transaction, ann)
        endpoint = await keys.create(transaction, ann)
        answer = await keys.create(transaction, ann)
        factor = await keys.create(transaction, ann)
        await _insert_mail(transaction, ann.tenant_id, own)
        await _insert_answer(transaction, filled, answer)
        await _insert_factor(transaction, ann.tenant_id, factor)
        await _insert_endpoint(transaction, filled, endpoint, number)
        await _insert_notice(transaction, filled, notice)
        document_id = list(filled.documents.values())[number]
        await _insert_link(transaction, filled, document_id, link)
        await _insert_request(transaction, filled, document_id)
        await _insert_comment(transaction, filled, document_id)
        await _insert_statement(transaction, filled, response_id, document_id)
        await _insert_stream(transaction, filled, response_id)
        await _insert_conversation(transaction, filled)


async def _insert_mail(transaction: Transaction, tenant_id: UUID, key: DataKey) -> None:
    mail_id = IdSource().new()
    place = bind(tenant_id, "outgoing_mail", mail_id, "sealed_message")
    await transaction.execute(
        "INSERT INTO outgoing_mail (id, tenant_id, data_key_id, sealed_message) VALUES ($1, $2, $3, $4)",
        mail_id,
        tenant_id,
        key.id,
        seal(key.material, _SEALED, place),
    )


async def _insert_answer(transaction: Transaction, filled: Filled, key: DataKey) -> None:
    row_id, ann = IdSource().new(), filled.ann
    place = bind(ann.tenant_id, "idempotency_keys", row_id, "sealed_answer")
    await transaction.execute(
        "INSERT INTO idempotency_keys"
        " (id, tenant_id, principal_id, route, key_digest, data_key_id, sealed_answer)"
        " VALUES ($1, $2, $3, 'POST /v1/groups', $4, $5, $6)",
        row_id,
        ann.tenant_id,
        ann.principal_id,
        os.urandom(32),
        key.id,
        seal(key.material, _SEALED * 10, place),
    )


async def _insert_factor(transaction: Transaction, tenant_id: UUID, key: DataKey) -> None:
    """Of a person of its own: nobody has two."""
    user_id = IdSource().new()
    await transaction.execute(
        "INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, 'member')",
        user_id,
        tenant_id,
        f"{user_id.hex}@factors.example",
    )
    await transaction.execute(
        "INSERT INTO second_factors (user_id, tenant_id, data_key_id, sealed_secret) VALUES ($1, $2, $3, $4)",
        user_id,
        tenant_id,
        key.id,
        seal(key.material, _SEALED, bind(tenant_id, "second_factors", user_id, "sealed_secret")),
    )


async def _insert_endpoint(
    transaction: Transaction, filled: Filled, key: DataKey, slot: int
) -> None:
    endpoint_id, ann = IdSource().new(), filled.ann
    place = bind(ann.tenant_id, "webhook_endpoints", endpoint_id, "sealed_target")
    await transaction.execute(
        "INSERT INTO webhook_endpoints (id, tenant_id, owner_id, slot, data_key_id, sealed_target, event_types)"
        " VALUES ($1, $2, $3, $4, $5, $6, '{grant.created}')",
        endpoint_id,
        ann.tenant_id,
        ann.principal_id,
        slot,
        key.id,
        seal(key.material, _SEALED, place),
    )


async def _insert_notice(transaction: Transaction, filled: Filled, key: DataKey) -> None:
    notice_id, ann = IdSource().new(), filled.ann
    place = bind(ann.tenant_id, "notice_versions", notice_id, "sealed_content", 1)
    await transaction.execute(
        "INSERT INTO notices (id, tenant_id, owner_id, data_key_id, purpose) VALUES ($1, $2, $3, $4, 'research')",
        notice_id,
        ann.tenant_id,
        ann.principal_id,
        key.id,
    )
    await transaction.execute(
        "INSERT INTO notice_versions (tenant_id, notice_id, number, sealed_content, validity_days, erases)"
        " VALUES ($1, $2, 1, $3, 30, false)",
        ann.tenant_id,
        notice_id,
        seal(key.material, _SEALED, place),
    )


async def _insert_link(
    transaction: Transaction, filled: Filled, document_id: UUID, key: DataKey
) -> None:
    link_id, grant_id, ann = IdSource().new(), IdSource().new(), filled.ann
    await transaction.execute(
        "INSERT INTO users (id, tenant_id, role, kind) VALUES ($1, $2, 'member', 'link')",
        link_id,
        ann.tenant_id,
    )
    await transaction.execute(
        "INSERT INTO grants (id, tenant_id, document_id, grantor_id, user_id, actions)"
        " VALUES ($1, $2, $3, $4, $5, '{read}')",
        grant_id,
        ann.tenant_id,
        document_id,
        ann.principal_id,
        link_id,
    )
    await transaction.execute(
        "INSERT INTO share_links (id, tenant_id, grant_id, token_hash, data_key_id, sealed_email, is_one_time)"
        " VALUES ($1, $2, $3, $4, $5, $6, false)",
        link_id,
        ann.tenant_id,
        grant_id,
        os.urandom(32),
        key.id,
        seal(key.material, _SEALED, bind(ann.tenant_id, "share_links", link_id, "email")),
    )


async def _insert_request(transaction: Transaction, filled: Filled, document_id: UUID) -> None:
    """Under the key of the document that is asked for."""
    request_id, ann = IdSource().new(), filled.ann
    key = await _open_key(transaction, filled, "documents", document_id)
    place = bind(ann.tenant_id, "access_requests", request_id, "sealed_content")
    await transaction.execute(
        "INSERT INTO access_requests (id, tenant_id, asker_id, owner_id, document_id, sealed_content)"
        " VALUES ($1, $2, $3, $3, $4, $5)",
        request_id,
        ann.tenant_id,
        ann.principal_id,
        document_id,
        seal(key.material, _SEALED, place),
    )


async def _insert_comment(transaction: Transaction, filled: Filled, document_id: UUID) -> None:
    """Under the key of the document that it is on."""
    comment_id, ann = IdSource().new(), filled.ann
    key = await _open_key(transaction, filled, "documents", document_id)
    place = bind(ann.tenant_id, "document_comments", comment_id, "text")
    await transaction.execute(
        "INSERT INTO document_comments (id, tenant_id, document_id, document_version, author_id, sealed_text)"
        " VALUES ($1, $2, $3, 1, $4, $5)",
        comment_id,
        ann.tenant_id,
        document_id,
        ann.principal_id,
        seal(key.material, _SEALED, place),
    )


async def _insert_statement(
    transaction: Transaction, filled: Filled, response_id: UUID, document_id: UUID
) -> None:
    """Under the key of the response."""
    ann = filled.ann
    key = await _open_key(transaction, filled, "responses", response_id)
    place = bind(ann.tenant_id, "response_passages", response_id, "statement", 1)
    await transaction.execute(
        "INSERT INTO response_passages (tenant_id, response_id, number, document_id, document_version,"
        " start_offset, end_offset, score, sealed_statement) VALUES ($1, $2, 1, $3, 1, 0, 1, 1, $4)",
        ann.tenant_id,
        response_id,
        document_id,
        seal(key.material, _SEALED, place),
    )


async def _insert_stream(transaction: Transaction, filled: Filled, response_id: UUID) -> None:
    """Under the key of the response: two runs of events, and what was asked."""
    tenant_id = filled.ann.tenant_id
    key = await _open_key(transaction, filled, "responses", response_id)
    await transaction.execute(
        "INSERT INTO response_streams (response_id, tenant_id, principal_id, holder_id, expires_at,"
        " sealed_request) VALUES ($1, $2, $3, $1, now(), $4)",
        response_id,
        tenant_id,
        filled.ann.principal_id,
        seal(key.material, _SEALED, bind(tenant_id, "response_streams", response_id, "request")),
    )
    for first, last in ((0, 2), (3, 5)):
        place = bind(tenant_id, "response_events", response_id, "events", first)
        await transaction.execute(
            "SELECT append_events(ARRAY[$1::uuid], ARRAY[1], ARRAY[$2::int], ARRAY[$3::int], ARRAY[$4::bytea], '')",
            response_id,
            first - 1,
            last,
            seal(key.material, _SEALED, place),
        )


async def _insert_conversation(transaction: Transaction, filled: Filled) -> None:
    """With an item under its key, and one under a key of its own."""
    ann, keys, conversation_id = filled.ann, filled.shelf.keys, IdSource().new()
    key = await keys.create(transaction, ann)
    place = bind(ann.tenant_id, "conversations", conversation_id, "metadata")
    await transaction.execute(
        "INSERT INTO conversations (id, tenant_id, owner_id, data_key_id, sealed_metadata)"
        " VALUES ($1, $2, $3, $4, $5)",
        conversation_id,
        ann.tenant_id,
        ann.principal_id,
        key.id,
        seal(key.material, _SEALED, place),
    )
    for number, own in enumerate((None, await keys.create(transaction, ann))):
        place = bind(ann.tenant_id, "conversation_items", conversation_id, "item", number)
        await transaction.execute(
            "INSERT INTO conversation_items (tenant_id, conversation_id, number, id, kind, data_key_id, sealed_item)"
            " VALUES ($1, $2, $3, $4, 'message', $5, $6)",
            ann.tenant_id,
            conversation_id,
            number,
            IdSource().new(),
            own.id if own else None,
            seal((own or key).material, _SEALED, place),
        )


async def _open_key(transaction: Transaction, filled: Filled, table: str, row_id: UUID) -> DataKey:
    row = await transaction.fetchrow(
        "SELECT k.id AS key_id, k.wrapped_key, k.salt, t.id AS tenant_key_id, t.tenant_id AS key_tenant_id,"
        f" t.wrapped_key AS wrapped_tenant_key FROM {table} AS o JOIN data_keys AS k ON o.data_key_id = k.id"
        " JOIN tenant_keys AS t ON k.tenant_key_id = t.id WHERE o.id = $1",
        row_id,
    )
    assert row is not None
    return await filled.shelf.keys.open(row)
