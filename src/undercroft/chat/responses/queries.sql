-- name: insert_response :exec
INSERT INTO responses (id, tenant_id, owner_id, status, resource)
VALUES ($1, current_tenant(), current_principal(), 'in_progress', $2);

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
-- Only from in_progress: a response that was deleted or finished meanwhile stays as it is.
UPDATE responses SET status = $2, resource = $3
WHERE id = $1 AND owner_id = current_principal() AND status = 'in_progress';

-- name: find_response :maybe
SELECT
    r.id,
    r.resource,
    NOT EXISTS (
        SELECT FROM response_passages AS p
        WHERE
            p.response_id = r.id
            AND NOT EXISTS (
                SELECT FROM documents AS d
                WHERE d.id = p.document_id AND d.owner_id = current_principal()
            )
    ) AS is_readable
FROM responses AS r
WHERE r.id = $1 AND r.owner_id = current_principal();

-- name: delete_response :value
DELETE FROM responses WHERE id = $1 AND owner_id = current_principal() RETURNING id;
