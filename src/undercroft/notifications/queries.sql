-- name: find_free_slot :value
SELECT min(s.slot)
FROM generate_series(1, $1::int) AS s (slot)
WHERE NOT EXISTS (SELECT FROM webhook_endpoints AS e WHERE e.tenant_id = current_tenant() AND e.slot = s.slot);

-- name: insert_endpoint :value
-- Nothing when another transaction has taken the slot.
INSERT INTO webhook_endpoints (id, tenant_id, owner_id, slot, data_key_id, sealed_target, event_types)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4, $5)
ON CONFLICT (tenant_id, slot) DO NOTHING
RETURNING created_at;

-- name: find_endpoint :maybe
SELECT
    e.id,
    e.tenant_id,
    e.sealed_target,
    e.event_types,
    e.state,
    e.former_secret_until,
    e.revision,
    e.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM webhook_endpoints AS e
INNER JOIN data_keys AS k ON e.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE e.id = $1;

-- name: lock_endpoint :exec
-- Of two who change an endpoint at once, the second sees what the first has made of it. Its messages go on: inserting a
-- delivery takes a lock that this one lets pass.
SELECT id FROM webhook_endpoints WHERE id = $1 FOR NO KEY UPDATE;

-- name: list_endpoints :many
SELECT
    e.id,
    e.tenant_id,
    e.sealed_target,
    e.event_types,
    e.state,
    e.former_secret_until,
    e.revision,
    e.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM webhook_endpoints AS e
INNER JOIN data_keys AS k ON e.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE e.tenant_id = current_tenant() AND ($1::uuid IS NULL OR e.id > $1)
ORDER BY e.id
LIMIT $2;

-- name: update_endpoint :exec
UPDATE webhook_endpoints SET sealed_target = $2, event_types = $3, state = $4, revision = revision + 1
WHERE id = $1;

-- name: rotate_secret :value
UPDATE webhook_endpoints SET sealed_target = $2, former_secret_until = now() + $3::interval, revision = revision + 1
WHERE id = $1
RETURNING former_secret_until;

-- name: delete_endpoint :value
DELETE FROM webhook_endpoints WHERE id = $1 RETURNING id;

-- name: find_endpoint_salt :value
SELECT k.salt
FROM webhook_endpoints AS e
INNER JOIN data_keys AS k ON e.data_key_id = k.id
WHERE e.id = $1;

-- name: mark_endpoint_gone :value
-- Nothing when it was not enabled any more.
UPDATE webhook_endpoints SET state = 'gone', revision = revision + 1
WHERE id = $1 AND state = 'enabled'
RETURNING id;

-- name: list_subscribed :many
-- FOR KEY SHARE against a deletion at the same time: it waits until the deliveries are there, and takes them along. In
-- the order of ids, as everybody who locks several.
SELECT
    e.id,
    e.owner_id,
    (
        SELECT count(*) FROM (
            SELECT FROM webhook_deliveries AS d
            WHERE d.tenant_id = e.tenant_id AND d.endpoint_id = e.id AND d.state = 'pending'
            ORDER BY d.id
            LIMIT $2
        ) AS waiting
    ) >= $2 AS is_full
FROM webhook_endpoints AS e
WHERE e.tenant_id = current_tenant() AND e.state = 'enabled' AND $1 = ANY(e.event_types)
ORDER BY e.id
FOR KEY SHARE OF e;

-- name: insert_message :exec
INSERT INTO webhook_messages (id, tenant_id, event_type, payload, created_at)
VALUES ($1, current_tenant(), $2, $3, coalesce($4::timestamptz, now()));

-- name: insert_delivery :exec
INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, message_id, next_attempt_at)
VALUES ($1, current_tenant(), $2, $3, now());

-- name: insert_refused_delivery :exec
INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, message_id, state, last_error)
VALUES ($1, current_tenant(), $2, $3, 'failed', 'too_many_waiting');

-- name: find_pending_delivery :maybe
-- Nothing once it is settled, its endpoint deleted, or the tenant's key destroyed.
SELECT
    d.id,
    d.attempts,
    e.tenant_id,
    e.id AS endpoint_id,
    e.state AS endpoint_state,
    e.sealed_target,
    m.id AS message_id,
    m.event_type,
    m.payload,
    m.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    e.former_secret_until > now() AS is_rotating
FROM webhook_deliveries AS d
INNER JOIN webhook_endpoints AS e ON d.tenant_id = e.tenant_id AND d.endpoint_id = e.id
INNER JOIN webhook_messages AS m ON d.tenant_id = m.tenant_id AND d.message_id = m.id
INNER JOIN data_keys AS k ON e.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE d.id = $1 AND d.state = 'pending' AND t.wrapped_key IS NOT NULL;

-- name: settle_delivery :exec
UPDATE webhook_deliveries SET
    state = $2, attempts = $3, last_status = $4, last_error = $5, last_attempt_at = now(), next_attempt_at = NULL
WHERE id = $1 AND state = 'pending';

-- name: postpone_delivery :value
-- Nothing when it was deleted with its endpoint while the attempt ran.
UPDATE webhook_deliveries SET
    attempts = $2, last_status = $3, last_error = $4, last_attempt_at = now(), next_attempt_at = now() + $5::interval
WHERE id = $1 AND state = 'pending'
RETURNING id;

-- name: fail_delivery :exec
UPDATE webhook_deliveries SET state = 'failed', last_error = $2, next_attempt_at = NULL
WHERE id = $1 AND state = 'pending';

-- name: lock_delivery :maybe
-- Two who send a delivery again at once: the second finds it pending.
SELECT d.state, d.endpoint_id FROM webhook_deliveries AS d WHERE d.id = $1 AND d.endpoint_id = $2 FOR UPDATE;

-- name: reopen_delivery :exec
UPDATE webhook_deliveries SET state = 'pending', attempts = 0, next_attempt_at = now() WHERE id = $1;

-- name: list_deliveries :many
SELECT
    d.id, d.message_id, m.event_type, d.state, d.attempts, d.last_status, d.last_error, d.last_attempt_at,
    d.next_attempt_at, d.created_at
FROM webhook_deliveries AS d
INNER JOIN webhook_messages AS m ON d.tenant_id = m.tenant_id AND d.message_id = m.id
WHERE
    d.tenant_id = current_tenant() AND d.endpoint_id = $1
    AND ($2::text IS NULL OR d.state = $2)
    AND ($3::uuid IS NULL OR d.id < $3)
ORDER BY d.id DESC
LIMIT $4;

-- name: get_delivery :one
SELECT
    d.id, d.message_id, m.event_type, d.state, d.attempts, d.last_status, d.last_error, d.last_attempt_at,
    d.next_attempt_at, d.created_at
FROM webhook_deliveries AS d
INNER JOIN webhook_messages AS m ON d.tenant_id = m.tenant_id AND d.message_id = m.id
WHERE d.id = $1;

-- name: prune_messages :value
SELECT prune_webhook_messages($1);

-- name: list_tenants_with_events :many
SELECT t.tenant_id FROM list_tenants_with_events($1) AS t (tenant_id);

-- name: take_events :many
-- Of two workers at once each takes what the other has not. MATERIALIZED: run once, whatever the table's size is taken for.
WITH oldest AS MATERIALIZED (
    SELECT p.id FROM pending_events AS p
    WHERE p.tenant_id = current_tenant()
    ORDER BY p.id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)

DELETE FROM pending_events AS e
USING oldest
WHERE e.id = oldest.id
RETURNING e.id, e.event_type, e.facts, e.happened_at;

-- name: list_owed_letters :many
SELECT o.tenant_id, o.recipient_id, o.kind FROM list_owed_letters($1) AS o;

-- name: lock_owed_letters :many
-- Of two workers the second waits, finds what the first has sent to be sent, and by the next statement that it is too early
-- for what was owed since.
SELECT l.id FROM letters AS l
WHERE l.tenant_id = current_tenant() AND l.recipient_id = $1 AND l.kind = $2 AND l.sent_at IS NULL
ORDER BY l.id
FOR NO KEY UPDATE;

-- name: is_letter_paused :value
SELECT EXISTS (
    SELECT FROM letters AS l
    WHERE
        l.tenant_id = current_tenant() AND l.recipient_id = $1 AND l.kind = $2
        AND l.sent_at > now() - interval '1 hour'
);

-- name: find_recipient :maybe
-- Nobody once the tenant's key was destroyed: nothing could be sealed any more, and nothing is left to write about.
SELECT
    u.email,
    t.name AS tenant_name
FROM users AS u
INNER JOIN tenants AS t ON u.tenant_id = t.id
WHERE
    u.id = $1 AND u.email IS NOT NULL AND u.suspended_at IS NULL
    AND NOT EXISTS (
        SELECT FROM tenant_keys AS k WHERE k.tenant_id = u.tenant_id AND k.is_current AND k.wrapped_key IS NULL
    );

-- name: mark_letters_sent :exec
UPDATE letters SET sent_at = now() WHERE id = ANY($1::bigint[]);

-- name: forget_letters :value
SELECT forget_letters($1);
