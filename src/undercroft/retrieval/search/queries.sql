-- name: search_lexical :many
SELECT chunk_id, score FROM search_lexical($1::uuid[], $2, $3, $4);

-- name: search_vector :many
SELECT chunk_id, score FROM search_vector($1::uuid[], $2, $3::text::halfvec, $4, $5);

-- name: list_collection_salts :many
SELECT c.id, k.salt
FROM collections AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
WHERE c.id = ANY($1::uuid[]) AND c.owner_id = current_principal();

-- name: list_passages :many
-- Authorises and reads in one snapshot: what the legs proposed is only a list of ids, and a document that was deleted,
-- moved or taken away since is not in the answer.
SELECT DISTINCT ON (proposed.place)
    proposed.place,
    ch.id AS chunk_id,
    ch.tenant_id,
    ch.blob_id,
    ch.ordinal,
    ch.sealed_text,
    ch.start_offset,
    ch.end_offset,
    ch.page_start,
    ch.page_end,
    d.id AS document_id,
    d.sealed_name,
    d.current_version,
    m.attributes,
    bk.id AS key_id,
    bk.wrapped_key,
    bk.salt,
    bt.id AS tenant_key_id,
    bt.tenant_id AS key_tenant_id,
    bt.wrapped_key AS wrapped_tenant_key,
    dk.id AS name_key_id,
    dk.wrapped_key AS name_wrapped_key,
    dk.salt AS name_salt,
    dt.id AS name_tenant_key_id,
    dt.tenant_id AS name_key_tenant_id,
    dt.wrapped_key AS name_wrapped_tenant_key
FROM unnest($2::bigint[]) WITH ORDINALITY AS proposed (chunk_id, place)
INNER JOIN chunks AS ch ON proposed.chunk_id = ch.id
INNER JOIN blobs AS b ON ch.blob_id = b.id
INNER JOIN data_keys AS bk ON b.data_key_id = bk.id
INNER JOIN tenant_keys AS bt ON bk.tenant_key_id = bt.id
INNER JOIN document_versions AS v ON ch.tenant_id = v.tenant_id AND ch.blob_id = v.blob_id
INNER JOIN documents AS d ON v.document_id = d.id AND v.number = d.current_version
INNER JOIN data_keys AS dk ON d.data_key_id = dk.id
INNER JOIN tenant_keys AS dt ON dk.tenant_key_id = dt.id
INNER JOIN collection_documents AS m ON d.id = m.document_id
INNER JOIN collections AS c ON m.collection_id = c.id
WHERE
    c.id = ANY($1::uuid[])
    AND c.owner_id = current_principal()
    AND d.owner_id = current_principal()
    AND d.deleted_at IS NULL
    AND NOT d.is_sealed
ORDER BY proposed.place, d.id;
