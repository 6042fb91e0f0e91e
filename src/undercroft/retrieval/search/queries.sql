-- name: search_lexical :many
SELECT chunk_id, score FROM search_lexical($1::uuid[], $2, $3, $4);

-- name: search_vector :many
SELECT chunk_id, score FROM search_vector($1::uuid[], $2, $3::text::halfvec, $4, $5);

-- name: list_unknown_collections :many
SELECT wanted.id
FROM unnest($1::uuid[]) AS wanted (id)
WHERE NOT EXISTS (
    SELECT FROM collections AS c WHERE c.id = wanted.id AND c.owner_id = current_principal()
);

-- name: list_passages :many
-- Authorises and reads in one snapshot: what the legs proposed is only a list of ids, and a document that was deleted,
-- moved or taken away since is not in the answer.
SELECT DISTINCT ON (proposed.place)
    proposed.place,
    ch.id AS chunk_id,
    ch.text,
    ch.start_offset,
    ch.end_offset,
    ch.page_start,
    ch.page_end,
    ch.headings,
    d.id AS document_id,
    d.filename,
    d.current_version,
    m.attributes
FROM unnest($2::bigint[]) WITH ORDINALITY AS proposed (chunk_id, place)
INNER JOIN chunks AS ch ON proposed.chunk_id = ch.id
INNER JOIN document_versions AS v ON ch.tenant_id = v.tenant_id AND ch.blob_id = v.blob_id
INNER JOIN documents AS d ON v.document_id = d.id AND v.number = d.current_version
INNER JOIN collection_documents AS m ON d.id = m.document_id
INNER JOIN collections AS c ON m.collection_id = c.id
WHERE
    c.id = ANY($1::uuid[])
    AND c.owner_id = current_principal()
    AND d.owner_id = current_principal()
ORDER BY proposed.place, d.id;
