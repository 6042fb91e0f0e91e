-- name: list_chunks :many
-- Authorises and reads in one snapshot: some chunks of the current version ($3: after this offset, $4: so many, $5: those
-- that may stand on this page), for whoever comes to the document by one of these actions ($2). One row without a chunk where
-- there is none to read.
WITH reached AS MATERIALIZED (
    SELECT
        d.owner_id,
        d.data_key_id,
        d.current_version,
        d.is_sealed,
        b.id AS blob_id,
        b.data_key_id AS blob_key_id,
        b.index_state,
        a.action,
        a.ways
    FROM access_to_document($1::uuid, $2::text[]) AS a
    INNER JOIN documents AS d ON a.id = d.id
    INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
    INNER JOIN blobs AS b ON v.blob_id = b.id
    WHERE d.deleted_at IS NULL
)

SELECT
    r.owner_id,
    r.current_version,
    r.is_sealed,
    r.index_state,
    r.action,
    r.ways,
    r.blob_id,
    dk.salt AS document_salt,
    ch.tenant_id,
    ch.ordinal,
    ch.start_offset,
    ch.end_offset,
    ch.page_start,
    ch.page_end,
    ch.sealed_text,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM reached AS r
INNER JOIN data_keys AS dk ON r.data_key_id = dk.id
INNER JOIN data_keys AS k ON r.blob_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
LEFT JOIN LATERAL (
    SELECT
        c.tenant_id,
        c.ordinal,
        c.start_offset,
        c.end_offset,
        c.page_start,
        c.page_end,
        c.sealed_text
    FROM chunks AS c
    WHERE
        c.tenant_id = current_tenant()
        AND c.blob_id = r.blob_id
        AND c.end_offset > $3
        AND ($5::integer IS NULL OR $5 BETWEEN c.page_start AND c.page_end)
        AND NOT r.is_sealed
    ORDER BY c.ordinal
    LIMIT $4
) AS ch ON true
ORDER BY ch.ordinal;
