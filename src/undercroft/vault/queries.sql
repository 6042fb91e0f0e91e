-- name: acquire_blob :one
-- DO UPDATE rather than DO NOTHING: it locks a blob that exists, so that a delete of its last document, running at the
-- same time, waits for this transaction and then sees the new document.
INSERT INTO blobs (
    id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256, stored_name
)
VALUES ($1, current_tenant(), $8, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant_id, owner_id, digest) DO UPDATE SET digest = excluded.digest
RETURNING id;

-- name: insert_document :exec
INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name, sealed_metadata, is_sealed)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4, $5, $6);

-- name: insert_document_version :exec
INSERT INTO document_versions (tenant_id, document_id, number, blob_id, entry_id)
VALUES (current_tenant(), $1, $2, $3, $4);

-- name: lock_document :maybe
-- A statement of its own: one that joins the current version and waits here for another transaction would look for the
-- version that was current before, and answer nothing.
SELECT
    d.id,
    d.revision,
    a.action
FROM access_to_document($1::uuid, $3::text[]) AS a
INNER JOIN documents AS d ON a.id = d.id
WHERE $2::boolean IS NULL OR (d.deleted_at IS NOT NULL) = $2
FOR UPDATE OF d;

-- name: find_way_in :value
-- The first of these actions ($2) by which the caller comes to another's document. Asked of the id and not of the row, so
-- that it takes as long where there is none.
SELECT w.action
FROM unnest($2::text[]) WITH ORDINALITY AS w (action, place)
WHERE
    ways_to_document($1, w.action) IS NOT NULL
    AND NOT EXISTS (SELECT FROM documents AS d WHERE d.id = $1 AND d.owner_id = current_principal())
ORDER BY w.place
LIMIT 1;

-- name: find_document :maybe
-- In the trash ($2), not in it, or either where that is NULL. The caller's own, or one that a grant of one of these
-- actions ($3) lets them come to.
SELECT
    d.id,
    d.tenant_id,
    d.owner_id,
    a.action,
    a.ways,
    d.sealed_name,
    d.sealed_metadata,
    d.purpose,
    d.current_version,
    d.revision,
    d.is_sealed,
    d.created_at,
    d.updated_at,
    d.deleted_at,
    d.purge_at,
    d.held_at,
    d.hold_reason,
    v.blob_id,
    b.byte_size,
    b.media_type,
    b.index_state,
    b.index_error_message,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM access_to_document($1::uuid, $3::text[]) AS a
INNER JOIN documents AS d ON a.id = d.id
INNER JOIN data_keys AS k ON d.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
WHERE $2::boolean IS NULL OR (d.deleted_at IS NOT NULL) = $2;

-- name: find_content :maybe
-- A version, where its bytes are, and their key. The current version where none is named: earlier ones are their owner's
-- alone. Others come to it by a grant of one of these actions ($3).
SELECT
    a.action,
    a.ways,
    v.number,
    v.entry_id,
    v.created_at,
    b.id,
    b.tenant_id,
    b.stored_name,
    b.byte_size,
    b.media_type,
    b.sealed_sha256,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM access_to_document($1::uuid, $3::text[]) AS a
INNER JOIN documents AS d ON a.id = d.id
INNER JOIN document_versions AS v ON d.id = v.document_id AND v.number = coalesce($2, d.current_version)
INNER JOIN blobs AS b ON v.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE d.deleted_at IS NULL AND (a.action IS NULL OR v.number = d.current_version);

-- name: list_versions :many
-- Of another's document the current one alone.
SELECT
    v.number,
    v.entry_id,
    v.created_at,
    b.id,
    b.tenant_id,
    b.stored_name,
    b.byte_size,
    b.media_type,
    b.sealed_sha256,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM access_to_document($1::uuid, $4::text[]) AS a
INNER JOIN documents AS d ON a.id = d.id
INNER JOIN document_versions AS v ON d.id = v.document_id
INNER JOIN blobs AS b ON v.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    d.deleted_at IS NULL
    AND (a.action IS NULL OR v.number = d.current_version)
    AND ($2::int IS NULL OR v.number < $2)
ORDER BY v.number DESC
LIMIT $3;

-- name: advance_document :exec
-- The row is locked.
UPDATE documents SET current_version = $2, revision = revision + 1, updated_at = now() WHERE id = $1;

-- name: update_document :exec
-- The row is locked. NULL leaves as is.
UPDATE documents
SET
    sealed_name = coalesce($2, sealed_name),
    sealed_metadata = coalesce($3, sealed_metadata),
    is_sealed = coalesce($4, is_sealed),
    revision = revision + 1,
    updated_at = now()
WHERE id = $1;

-- name: trash_document :exec
-- The row is locked.
UPDATE documents SET deleted_at = now(), purge_at = now() + $2::interval, revision = revision + 1 WHERE id = $1;

-- name: restore_document :value
-- The row is locked. Answers nothing when its time in the trash is over, purged or not.
UPDATE documents SET deleted_at = NULL, purge_at = NULL, revision = revision + 1
WHERE id = $1 AND purge_at > now()
RETURNING id;

-- name: list_expired_documents :many
SELECT tenant_id, owner_id, document_id FROM list_expired_documents($1);

-- name: lock_expired_document :maybe
-- Nothing when it was restored or held since it was listed, or when another worker has it.
SELECT d.current_version, k.salt
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
WHERE d.id = $1 AND d.owner_id = current_principal() AND d.purge_at <= now() AND d.held_at IS NULL
FOR UPDATE OF d SKIP LOCKED;

-- name: lock_promised_document :maybe
-- In the trash or not. Nothing when it was erased or held since it was listed, or when another worker has it.
SELECT d.current_version, k.salt
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
WHERE d.id = $1 AND d.held_at IS NULL
FOR UPDATE OF d SKIP LOCKED;

-- name: lock_tenant_document :maybe
-- Whoever's it is: for an admin, who learns whose it is and nothing of what it holds.
SELECT d.id, d.owner_id, d.data_key_id, d.held_at, d.hold_reason
FROM documents AS d
WHERE d.id = $1
FOR UPDATE;

-- name: get_key_salt :value
SELECT salt FROM data_keys WHERE id = $1;

-- name: lock_tenant_key :exec
-- Against the destruction of the tenant's keys at the same time, which would not see the hold: it waits and then does, or
-- was first.
SELECT k.id FROM tenant_keys AS k WHERE k.tenant_id = current_tenant() AND k.is_current FOR SHARE;

-- name: hold_document :value
-- A hold that is there keeps its beginning.
UPDATE documents SET held_at = coalesce(held_at, now()), hold_reason = $2, revision = revision + 1
WHERE id = $1
RETURNING held_at;

-- name: lift_hold :exec
UPDATE documents SET held_at = NULL, hold_reason = NULL, revision = revision + 1 WHERE id = $1;

-- name: find_document_salt :value
SELECT k.salt
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
WHERE d.id = $1 AND d.owner_id = current_principal();

-- name: find_document_owner :maybe
-- Of any of the tenant's documents, to put on record who was refused it. Where there is none, a key is looked for all the
-- same, so that it takes as long.
WITH found AS MATERIALIZED (
    SELECT d.owner_id, k.salt
    FROM (SELECT $1::uuid AS id) AS asked
    LEFT JOIN documents AS d ON asked.id = d.id
    -- By CASE: under row-level security a coalesce here may not be looked up in an index.
    LEFT JOIN data_keys AS k ON k.id = CASE WHEN d.id IS NULL THEN asked.id ELSE d.data_key_id END
)

SELECT f.owner_id, f.salt FROM found AS f WHERE f.owner_id IS NOT NULL AND f.salt IS NOT NULL;

-- name: list_documents :many
-- The caller's own.
SELECT
    d.id,
    d.tenant_id,
    d.owner_id,
    NULL AS action,
    '[[]]'::jsonb AS ways,
    d.sealed_name,
    d.sealed_metadata,
    d.purpose,
    d.current_version,
    d.revision,
    d.is_sealed,
    d.created_at,
    d.updated_at,
    d.deleted_at,
    d.purge_at,
    d.held_at,
    d.hold_reason,
    v.blob_id,
    b.byte_size,
    b.media_type,
    b.index_state,
    b.index_error_message,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
WHERE
    d.tenant_id = current_tenant()
    AND d.owner_id = current_principal()
    AND ($1::uuid IS NULL OR (CASE WHEN $2::boolean THEN d.id > $1 ELSE d.id < $1 END))
    AND ($3::text IS NULL OR d.purpose = $3)
    AND (d.deleted_at IS NOT NULL) = $5::boolean
ORDER BY CASE WHEN $2 THEN d.id END ASC, CASE WHEN NOT $2 THEN d.id END DESC
LIMIT $4;

-- name: delete_document :many
-- Answers the blobs of every version, locked: see delete_unused_blob.
WITH gone AS (
    DELETE FROM documents WHERE id = $1 AND owner_id = current_principal()
    RETURNING id
)

SELECT b.id AS blob_id
FROM gone
INNER JOIN document_versions AS v ON gone.id = v.document_id
INNER JOIN blobs AS b ON v.blob_id = b.id
ORDER BY b.id
FOR UPDATE OF b;

-- name: delete_unused_blob :value
-- Answers the name of its bytes, which the caller deletes after the commit.
-- Runs in a later statement than delete_document, whose row lock it holds: an upload of the same content waits in
-- acquire_blob until this transaction ends, and no version can appear between the check and the delete.
DELETE FROM blobs
WHERE
    id = $1
    AND NOT EXISTS (
        SELECT FROM document_versions AS v WHERE v.tenant_id = blobs.tenant_id AND v.blob_id = blobs.id
    )
RETURNING stored_name;

-- name: forget_sealed_content :exec
-- The content is locked, as for delete_unused_blob: a document that is being sealed at the same time comes first and is
-- seen, or comes later and looks itself (forget_sealed_document).
WITH forgotten AS (
    UPDATE blobs
    SET index_state = 'unindexed', index_error_code = NULL, index_error_message = NULL
    WHERE
        id = $1
        AND NOT EXISTS (
            SELECT FROM document_versions AS v
            INNER JOIN documents AS d ON v.document_id = d.id
            WHERE v.tenant_id = blobs.tenant_id AND v.blob_id = blobs.id AND NOT d.is_sealed
        )
    RETURNING id
)

DELETE FROM chunks WHERE tenant_id = current_tenant() AND blob_id IN (SELECT id FROM forgotten);

-- name: list_stored_names :many
-- Every table that names files has to stand here: what it does not know of is deleted.
SELECT b.stored_name FROM blobs AS b WHERE b.tenant_id = current_tenant() AND b.stored_name = ANY($1::bytea[])
UNION ALL
SELECT p.stored_name FROM upload_parts AS p WHERE p.tenant_id = current_tenant() AND p.stored_name = ANY($1::bytea[]);
