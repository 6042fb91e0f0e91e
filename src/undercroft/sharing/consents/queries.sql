-- name: insert_notice :exec
INSERT INTO notices (id, tenant_id, owner_id, data_key_id, purpose)
VALUES ($1, current_tenant(), current_principal(), $2, $3);

-- name: insert_notice_version :exec
INSERT INTO notice_versions (
    tenant_id, notice_id, number, sealed_content, validity_days, retention_days, erases
)
VALUES (current_tenant(), $1, $2, $3, $4, $5, $6);

-- name: lock_notice :maybe
-- Of two who add a version at once, the second counts on from the first one's.
SELECT n.id FROM notices AS n WHERE n.id = $1 FOR NO KEY UPDATE;

-- name: advance_notice :exec
UPDATE notices SET current_version = $2 WHERE id = $1;

-- name: find_notice :maybe
-- Without a number, the latest version.
SELECT
    n.id,
    n.owner_id,
    n.purpose,
    n.current_version,
    v.number,
    v.sealed_content,
    v.validity_days,
    v.retention_days,
    v.erases,
    v.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM notices AS n
INNER JOIN notice_versions AS v ON n.id = v.notice_id AND v.number = coalesce($2::int, n.current_version)
INNER JOIN data_keys AS k ON n.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE n.id = $1;

-- name: list_notices :many
-- The latest versions of the tenant's notices, the oldest notice first.
SELECT
    n.id,
    n.owner_id,
    n.purpose,
    n.current_version,
    v.number,
    v.sealed_content,
    v.validity_days,
    v.retention_days,
    v.erases,
    v.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM notices AS n
INNER JOIN notice_versions AS v ON n.id = v.notice_id AND n.current_version = v.number
INNER JOIN data_keys AS k ON n.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE n.tenant_id = current_tenant() AND ($1::uuid IS NULL OR n.id > $1)
ORDER BY n.id
LIMIT $2;

-- name: insert_consent :exec
INSERT INTO consents (
    id,
    tenant_id,
    notice_id,
    notice_version,
    purpose,
    document_id,
    collection_id,
    record_id,
    resource_id,
    resource_kind,
    subject_id,
    controller_id
)
VALUES ($1, current_tenant(), $2, $3, $4, $5, $6, $7, $8, $9, $10, current_principal());

-- name: find_consent :maybe
-- For whom it is about and for who asked.
SELECT
    c.id,
    c.notice_id,
    c.notice_version,
    c.purpose,
    c.resource_id,
    c.resource_kind,
    c.subject_id,
    c.controller_id,
    c.state,
    c.asked_at,
    c.given_at,
    c.valid_until,
    c.retain_until,
    c.erase_after,
    c.ended_at,
    c.ledger_salt,
    v.validity_days,
    v.retention_days,
    v.erases,
    num_nonnulls(c.document_id, c.collection_id, c.record_id) = 0 AS is_gone
FROM consents AS c
INNER JOIN notice_versions AS v ON c.notice_id = v.notice_id AND c.notice_version = v.number
WHERE c.id = $1 AND (c.subject_id = current_principal() OR c.controller_id = current_principal());

-- name: lock_consent :maybe
-- For a change by its subject. FOR UPDATE: whoever makes a grant that rests on it holds it by a foreign key.
SELECT c.id FROM consents AS c WHERE c.id = $1 AND c.subject_id = current_principal() FOR UPDATE;

-- name: hold_person :maybe
-- For giving: several at once, and none while all is withdrawn.
SELECT u.id FROM users AS u WHERE u.tenant_id = current_tenant() AND u.id = current_principal() FOR SHARE;

-- name: lock_person :maybe
SELECT u.id FROM users AS u WHERE u.tenant_id = current_tenant() AND u.id = current_principal() FOR NO KEY UPDATE;

-- name: list_consents :many
-- Those of the caller's own, or, for $1, those that they have asked others for; the newest first.
SELECT
    c.id,
    c.notice_id,
    c.notice_version,
    c.purpose,
    c.resource_id,
    c.resource_kind,
    c.subject_id,
    c.controller_id,
    c.state,
    c.asked_at,
    c.given_at,
    c.valid_until,
    c.retain_until,
    c.erase_after,
    c.ended_at,
    c.ledger_salt,
    v.validity_days,
    v.retention_days,
    v.erases,
    num_nonnulls(c.document_id, c.collection_id, c.record_id) = 0 AS is_gone
FROM consents AS c
INNER JOIN notice_versions AS v ON c.notice_id = v.notice_id AND c.notice_version = v.number
WHERE
    c.tenant_id = current_tenant()
    AND CASE WHEN $1::boolean THEN c.controller_id ELSE c.subject_id END = current_principal()
    AND ($2::uuid IS NULL OR c.id < $2)
ORDER BY c.id DESC
LIMIT $3;

-- name: list_given :many
-- What the caller can withdraw, the oldest first.
SELECT c.id FROM consents AS c
WHERE c.tenant_id = current_tenant() AND c.subject_id = current_principal() AND c.state = 'given'
ORDER BY c.id
LIMIT $1;

-- name: give_consent :exec
-- Given or renewed: it counts from now on, and so does what the notice says of keeping.
UPDATE consents AS c
SET
    state = 'given',
    notice_version = v.number,
    given_at = now(),
    valid_until = now() + make_interval(days => v.validity_days),
    retain_until = now() + make_interval(days => v.retention_days),
    erase_after = NULL,
    ended_at = NULL
FROM notice_versions AS v
WHERE c.id = $1 AND c.notice_id = v.notice_id AND v.number = $2;

-- name: refuse_consent :exec
UPDATE consents SET state = 'refused', ended_at = now() WHERE id = $1;

-- name: withdraw_consent :exec
-- Its retention clock stops: what was promised to be erased is due now.
UPDATE consents AS c
SET
    state = 'withdrawn',
    ended_at = now(),
    retain_until = NULL,
    erase_after = CASE WHEN v.erases THEN now() END
FROM notice_versions AS v
WHERE c.id = $1 AND c.notice_id = v.notice_id AND c.notice_version = v.number;

-- name: expire_consent :value
-- Answers its version's number, or nothing when it was renewed or withdrawn meanwhile, or when another worker has it.
WITH due AS (
    SELECT d.id FROM consents AS d
    WHERE d.id = $1 AND d.state = 'given' AND d.valid_until <= now()
    FOR UPDATE SKIP LOCKED
)

UPDATE consents AS c
SET state = 'expired', ended_at = now()
FROM due
WHERE c.id = due.id
RETURNING c.notice_version;

-- name: end_retention :exec
-- Of a consent that has expired: what was promised to be erased is due now.
UPDATE consents AS c
SET retain_until = NULL, erase_after = CASE WHEN v.erases THEN now() END
FROM notice_versions AS v
WHERE
    c.id = $1
    AND c.state = 'expired'
    AND c.retain_until <= now()
    AND c.notice_id = v.notice_id
    AND c.notice_version = v.number;

-- name: insert_event :exec
INSERT INTO consent_events (tenant_id, consent_id, number, event, notice_version, entry_id)
SELECT current_tenant(), $1, count(*) + 1, $2, $3, $4
FROM consent_events AS e
WHERE e.consent_id = $1;

-- name: list_events :many
SELECT
    e.consent_id,
    e.event,
    e.notice_version,
    e.occurred_at,
    e.entry_id
FROM consent_events AS e
WHERE e.consent_id = ANY($1::uuid[])
ORDER BY e.consent_id, e.number;

-- name: list_uses :many
-- What was done under grants that rested on it, the newest first; entries that have no number yet as well.
SELECT
    e.id,
    e.occurred_at,
    e.actor_id,
    e.action,
    e.resource,
    e.version,
    e.grant_id,
    e.purpose
FROM (
    SELECT
        n.id,
        n.occurred_at,
        n.actor_id,
        n.action,
        n.resource,
        n.version,
        n.grant_id,
        n.purpose
    FROM consent_grants AS g
    INNER JOIN ledger_entries AS n ON g.tenant_id = n.tenant_id AND g.grant_id = n.grant_id
    WHERE
        g.consent_id = $1
        AND n.outcome = 'allowed'
        AND n.action NOT IN ('grant.create', 'grant.revoke')
        AND ($2::uuid IS NULL OR n.id < $2)
    UNION ALL
    SELECT
        p.id,
        p.occurred_at,
        p.actor_id,
        p.action,
        p.resource,
        p.version,
        p.grant_id,
        p.purpose
    FROM consent_grants AS g
    INNER JOIN ledger_pending AS p ON g.tenant_id = p.tenant_id AND g.grant_id = p.grant_id
    WHERE
        g.consent_id = $1
        AND p.outcome = 'allowed'
        AND p.action NOT IN ('grant.create', 'grant.revoke')
        AND ($2::uuid IS NULL OR p.id < $2)
) AS e
ORDER BY e.id DESC
LIMIT $3;

-- name: find_consent_salt :value
SELECT c.ledger_salt FROM consents AS c
WHERE c.id = $1 AND (c.subject_id = current_principal() OR c.controller_id = current_principal());

-- name: find_notice_salt :value
SELECT k.salt FROM notices AS n INNER JOIN data_keys AS k ON n.data_key_id = k.id WHERE n.id = $1;

-- name: list_due_consents :many
SELECT d.tenant_id, d.consent_id, d.subject_id FROM list_due_consents($1) AS d;

-- name: list_due_erasures :many
SELECT d.tenant_id, d.document_id, d.record_id, d.owner_id FROM list_due_erasures($1) AS d;

-- name: lock_due_erasure :value
-- Whether it is still to be erased: not when consent was given again meanwhile. The consent stays as it is until it is.
SELECT c.id FROM consents AS c
WHERE c.tenant_id = current_tenant() AND c.resource_id = $1 AND c.erase_after <= now()
ORDER BY c.id
LIMIT 1
FOR SHARE;

-- Whom things are about -------------------------------------------------------------------------------------------------

-- name: find_user :value
SELECT u.id FROM users AS u
WHERE u.tenant_id = current_tenant() AND u.email = $1 AND u.suspended_at IS NULL;

-- name: lock_resource :maybe
-- FOR UPDATE: whoever makes a grant of it, or puts it into a vector store, holds it by a foreign key.
WITH document AS (
    SELECT d.id FROM documents AS d
    WHERE d.id = $1 AND d.owner_id = current_principal() AND d.deleted_at IS NULL
    FOR UPDATE
),

collection AS (
    SELECT c.id FROM collections AS c
    WHERE c.id = $1 AND c.owner_id = current_principal()
    FOR UPDATE
),

record AS (
    SELECT r.id FROM records AS r
    WHERE r.id = $1 AND r.owner_id = current_principal()
    FOR UPDATE
)

SELECT document.id FROM document
UNION ALL
SELECT collection.id FROM collection
UNION ALL
SELECT record.id FROM record;

-- name: mark_document :exec
UPDATE documents SET data_subject_id = $2 WHERE id = $1;

-- name: mark_collection :exec
UPDATE collections SET data_subject_id = $2 WHERE id = $1;

-- name: mark_record :exec
UPDATE records SET data_subject_id = $2 WHERE id = $1;

-- name: data_subject_of :value
-- Of all of it; NULL when it is not personal.
SELECT data_subject_of($1, NULL);
