-- name: insert_response :exec
INSERT INTO responses (id, tenant_id, owner_id, status, data_key_id, sealed_resource)
VALUES ($1, current_tenant(), current_principal(), 'in_progress', $2, $3);

-- name: insert_response_passages :exec
-- Nothing for a response that was deleted meanwhile; the lock keeps one that is there until this commits.
WITH response AS (
    SELECT id FROM responses WHERE id = $1 AND owner_id = current_principal() FOR KEY SHARE
)

INSERT INTO response_passages (
    tenant_id, response_id, number, document_id, document_version, start_offset, end_offset, score
)
SELECT
    current_tenant(),
    response.id,
    p.number,
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset,
    p.score
FROM response
CROSS JOIN unnest($2::int[], $3::uuid[], $4::int[], $5::int[], $6::int[], $7::real[]) AS p (
    number, document_id, document_version, start_offset, end_offset, score
);

-- name: finish_response :exec
-- Only from in_progress: a response that was deleted or finished meanwhile stays as it is. One whose source was erased
-- meanwhile keeps nothing of it.
UPDATE responses
SET status = $2, sealed_resource = CASE WHEN data_key_id IS NULL THEN ''::bytea ELSE $3 END
WHERE id = $1 AND owner_id = current_principal() AND status = 'in_progress';

-- name: find_response :maybe
SELECT
    r.id,
    r.tenant_id,
    r.sealed_resource,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    NOT EXISTS (
        SELECT FROM response_passages AS p
        WHERE
            p.response_id = r.id
            AND NOT EXISTS (
                SELECT FROM documents AS d
                WHERE
                    d.id = p.document_id
                    AND d.owner_id = current_principal()
                    AND d.deleted_at IS NULL
                    AND NOT d.is_sealed
            )
    ) AS is_readable
FROM responses AS r
LEFT JOIN data_keys AS k ON r.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE r.id = $1 AND r.owner_id = current_principal();

-- name: find_response_owner :maybe
-- Of any of the tenant's responses whose sources are not erased, to put on record who was refused it.
SELECT r.owner_id, k.salt
FROM responses AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
WHERE r.id = $1;

-- name: delete_response :value
DELETE FROM responses WHERE id = $1 AND owner_id = current_principal() RETURNING id;
