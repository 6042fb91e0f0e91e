-- name: list_documents :many
-- Whose documents are, and what opens the ledger's commitments to them. The caller holds them: none is missing.
SELECT
    d.id,
    d.owner_id,
    k.salt
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
WHERE d.id = ANY($1::uuid[]);
