-- name: forget_inherited :exec
-- What a response was found to rest on through the turns before it: they are read anew.
DELETE FROM response_passages AS p
USING responses AS r
WHERE
    p.response_id = $1
    AND p.sealed_statement IS NULL
    AND r.id = p.response_id
    AND r.owner_id = current_principal();

-- name: insert_inherited :exec
-- Behind what the response found itself and without a statement: the model did not see it. Nothing for a response that was
-- deleted meanwhile; the lock keeps one that is there until this commits.
WITH response AS (
    SELECT r.id FROM responses AS r WHERE r.id = $1 AND r.owner_id = current_principal() FOR KEY SHARE
)

INSERT INTO response_passages (
    tenant_id, response_id, number, document_id, document_version, start_offset, end_offset, score
)
SELECT
    current_tenant(),
    r.id,
    1000 + p.place,
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset,
    0
FROM response AS r
CROSS JOIN unnest($2::uuid[], $3::int[], $4::int[], $5::int[]) WITH ORDINALITY
    AS p (document_id, document_version, start_offset, end_offset, place);

-- name: list_documents :many
-- Whose documents are, and what opens the ledger's commitments to them. The caller holds them: none is missing.
SELECT
    d.id,
    d.owner_id,
    k.salt
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
WHERE d.id = ANY($1::uuid[]);
