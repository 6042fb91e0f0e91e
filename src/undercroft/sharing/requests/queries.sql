-- name: count_request :maybe
-- Nothing when the day's are used up. By itself before anything is looked up: refusing tells only how often one has asked.
INSERT INTO access_request_counts AS c (tenant_id, asker_id, day)
VALUES (current_tenant(), current_principal(), current_date)
ON CONFLICT (asker_id, day) DO UPDATE SET asked = c.asked + 1 WHERE c.asked < $1
RETURNING c.asked;

-- name: find_thing :maybe
-- Whose a thing is, with the key that seals what is asked about it.
SELECT
    r.owner_id,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM requestable_things AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE r.tenant_id = current_tenant() AND r.id = $1 AND r.kind = $2;

-- name: hold_thing :value
-- Before what is asked about it: whoever deletes a thing has it first, and then what was asked.
SELECT hold_thing($1);

-- name: hold_asked_thing :value
-- The same, of what a request is about.
SELECT hold_thing(r.resource_id) FROM access_requests AS r WHERE r.id = $1 AND r.owner_id = current_principal();

-- name: delete_pending :exec
-- What the caller asked about the thing before: this takes its place.
DELETE FROM access_requests AS r
WHERE
    r.tenant_id = current_tenant()
    AND r.asker_id = current_principal()
    AND r.resource_id = $1
    AND CASE $2
        WHEN 'document' THEN r.document_id
        WHEN 'collection' THEN r.collection_id
        WHEN 'record' THEN r.record_id
        WHEN 'response' THEN r.response_id
        WHEN 'conversation' THEN r.conversation_id
    END = $1
    AND r.state = 'pending';

-- name: insert_request :exec
-- The same statement where there is no such thing: then it keeps nothing.
INSERT INTO access_requests (
    id,
    tenant_id,
    asker_id,
    owner_id,
    document_id,
    collection_id,
    record_id,
    response_id,
    conversation_id,
    sealed_content
)
SELECT
    $1,
    r.tenant_id,
    current_principal(),
    r.owner_id,
    $2,
    $3,
    $4,
    $5,
    $6,
    $7
FROM requestable_things AS r
WHERE r.tenant_id = current_tenant() AND r.id = $8 AND r.kind = $9
ON CONFLICT DO NOTHING;

-- name: lock_request :maybe
-- For an answer by its owner. Of two at once the second waits, and sees that it was answered.
SELECT r.id FROM access_requests AS r
WHERE r.id = $1 AND r.owner_id = current_principal()
FOR NO KEY UPDATE;

-- name: find_request :maybe
-- For its owner; for its asker once it was answered, as a thing that is not there never answers.
SELECT
    r.id,
    r.asker_id,
    r.owner_id,
    r.document_id,
    r.collection_id,
    r.record_id,
    r.response_id,
    r.conversation_id,
    r.sealed_content,
    r.grant_id,
    r.created_at,
    r.expires_at,
    r.answered_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    CASE WHEN r.state = 'pending' AND r.expires_at <= now() THEN 'expired' ELSE r.state END AS state
FROM access_requests AS r
INNER JOIN requestable_things AS x ON r.tenant_id = x.tenant_id AND r.resource_id = x.id
INNER JOIN data_keys AS k ON x.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    r.id = $1
    AND (
        r.owner_id = current_principal()
        OR r.asker_id = current_principal() AND r.state IN ('approved', 'denied')
    );

-- name: list_requests :many
-- What the caller is asked for, or, for $1, what they asked for and was answered; the newest first.
SELECT
    r.id,
    r.asker_id,
    r.owner_id,
    r.document_id,
    r.collection_id,
    r.record_id,
    r.response_id,
    r.conversation_id,
    r.sealed_content,
    r.grant_id,
    r.created_at,
    r.expires_at,
    r.answered_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    CASE WHEN r.state = 'pending' AND r.expires_at <= now() THEN 'expired' ELSE r.state END AS state
FROM access_requests AS r
INNER JOIN requestable_things AS x ON r.tenant_id = x.tenant_id AND r.resource_id = x.id
INNER JOIN data_keys AS k ON x.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    r.tenant_id = current_tenant()
    AND CASE WHEN $1::boolean THEN r.asker_id ELSE r.owner_id END = current_principal()
    AND (NOT $1::boolean OR r.state IN ('approved', 'denied'))
    AND ($2::uuid IS NULL OR r.id < $2)
ORDER BY r.id DESC
LIMIT $3;

-- name: approve_request :exec
UPDATE access_requests
SET state = 'approved', grant_id = $2, sealed_content = NULL, answered_at = now()
WHERE id = $1;

-- name: deny_request :exec
UPDATE access_requests SET state = 'denied', sealed_content = NULL, answered_at = now() WHERE id = $1;

-- name: expire_requests :value
SELECT expire_access_requests();

-- name: announce_requests :value
SELECT announce_access_requests($1);
