-- name: insert_entry :exec
-- As insert_entries does for several, in two thirds of the time that a single one takes there. Cast, because a parameter of
-- a domain's type has the domain's checks looked up for each value.
INSERT INTO ledger_pending (
    tenant_id, actor_id, trace, id, occurred_at, owner_id, on_behalf_of, action, resource, version, outcome, grant_id,
    purpose, refusals, leaf
)
VALUES ($1, $2, $3::text, $4, $5, $6, $7, $8::text, $9::text, $10, $11::text, $12, $13::text, $14, $15::bytea);

-- name: insert_entries :exec
INSERT INTO ledger_pending (
    tenant_id, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id, purpose,
    trace, refusals, leaf
)
SELECT
    $1, n.id, n.occurred_at, $2, n.owner_id, n.on_behalf_of, n.action, n.resource, n.version, n.outcome, n.grant_id,
    n.purpose, n.trace, n.refusals, n.leaf
FROM unnest(
    $3::text[], $4::uuid[], $5::timestamptz[], $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::int[], $11::text[],
    $12::uuid[], $13::text[], $14::bigint[], $15::bytea[]
) AS n (
    trace, id, occurred_at, owner_id, on_behalf_of, action, resource, version, outcome, grant_id, purpose, refusals,
    leaf
);

-- name: list_refusals :many
SELECT tenant_id, actor_id, action, owner_id FROM list_refusals($1);

-- name: lock_refusals :value
SELECT lock_refusals($1, $2, $3);

-- name: get_log_id :one
SELECT id FROM ledger_logs WHERE tenant_id = $1;

-- name: get_log_salt :one
SELECT salt FROM ledger_logs WHERE tenant_id = $1;

-- name: wait_for_log :exec
SELECT wait_for_ledger();

-- name: get_log_state :one
SELECT id, size, checkpoint FROM ledger_logs WHERE tenant_id = $1;

-- name: list_user_salts :many
SELECT id, ledger_salt FROM users WHERE tenant_id = $1 AND id = ANY($2::uuid[]);

-- name: list_signing_keys :many
SELECT number, name, public_key, wrapped_private_key FROM ledger_keys
WHERE tenant_id = $1 AND retired_at IS NULL
ORDER BY number DESC
LIMIT $2;

-- name: find_log_tenant :value
SELECT find_log_tenant($1);

-- name: list_public_keys :many
-- Those that sign no more as well: what they have signed may still be held.
SELECT name, public_key FROM ledger_keys WHERE tenant_id = $1 ORDER BY number DESC;

-- name: insert_key :value
INSERT INTO ledger_keys (tenant_id, number, name, public_key, wrapped_private_key) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, number) DO NOTHING
RETURNING number;

-- name: retire_keys :exec
UPDATE ledger_keys SET retired_at = now() WHERE tenant_id = $1 AND number < $2 AND retired_at IS NULL;

-- name: rewrap_key :exec
UPDATE ledger_keys SET wrapped_private_key = $3 WHERE tenant_id = $1 AND number = $2;

-- name: list_pending_ledgers :many
SELECT tenant_id, running_from FROM list_pending_ledgers($1, $2, $3) ORDER BY tenant_id;

-- name: measure_pending :one
SELECT entries, oldest FROM measure_pending_entries($1);

-- name: find_checkpoint :value
SELECT find_ledger_checkpoint($1);

-- name: lock_log :maybe
-- A sequencer that stalls gives its log up: PostgreSQL ends a session that idles in this transaction.
SELECT
    log_id, size, frontier, key_number, newest_key,
    set_config('idle_in_transaction_session_timeout', '1s', true) AS longest_stall
FROM lock_ledger();

-- name: number_pending_entries :many
SELECT entry_position, entry_leaf, settled_below FROM number_pending_entries($1, $2) ORDER BY entry_position;

-- name: advance_log :exec
SELECT advance_ledger($1, $2, $3, $4, $5, $6, $7, $8);

-- name: list_leaves :many
SELECT leaf FROM ledger_entries
WHERE tenant_id = $1 AND position >= $2 AND position < $3
ORDER BY position;

-- name: list_leaf_hashes :many
SELECT e.position, sha256('\x00'::bytea || e.leaf) AS hash
FROM unnest($2::bigint[], $3::bigint[]) AS wanted (first, after_last)
INNER JOIN ledger_entries AS e
    ON wanted.first <= e.position AND wanted.after_last > e.position AND e.tenant_id = $1;

-- name: list_tile_hashes :many
SELECT t.level, t.position, t.hash
FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS wanted (level, first, after_last)
INNER JOIN ledger_tiles AS t
    ON wanted.level = t.level AND wanted.first <= t.position AND wanted.after_last > t.position AND t.tenant_id = $1;

-- name: plan_for_values :exec
-- The filters are mostly NULL, and which of the indexes serves depends on which are not.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: list_entries :many
SELECT
    id, position, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id, purpose,
    trace, refusals
FROM ledger_entries
WHERE tenant_id = $1
  AND ($2::text IS NULL OR resource = $2) AND ($3::uuid IS NULL OR actor_id = $3)
  AND ($4::text[] IS NULL OR action = ANY($4))
  AND ($10::text IS NULL OR outcome = $10)
  AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND ($6::timestamptz IS NULL OR occurred_at < $6)
  AND ($7::timestamptz IS NULL OR (occurred_at, position) < ($7, $8::bigint))
ORDER BY occurred_at DESC, position DESC
LIMIT $9;

-- name: list_visible_entries :many
-- Refusals are for the owner and for admins: to whoever was refused, what is not theirs is not there, here either.
-- For $11: what was done with what they own, then what they did with what they do not, then what was done for them with it.
(
    SELECT
        id, position, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id,
        purpose, trace, refusals
    FROM ledger_entries
    WHERE tenant_id = $1 AND owner_id = $11
      AND ($2::text IS NULL OR resource = $2) AND ($3::uuid IS NULL OR actor_id = $3)
      AND ($4::text[] IS NULL OR action = ANY($4))
      AND ($10::text IS NULL OR outcome = $10)
      AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND ($6::timestamptz IS NULL OR occurred_at < $6)
      AND ($7::timestamptz IS NULL OR (occurred_at, position) < ($7, $8::bigint))
    ORDER BY occurred_at DESC, position DESC
    LIMIT $9
)
UNION ALL
(
    SELECT
        id, position, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id,
        purpose, trace, refusals
    FROM ledger_entries
    WHERE tenant_id = $1 AND actor_id = $11 AND owner_id IS DISTINCT FROM $11 AND outcome = 'allowed'
      AND $10::text IS DISTINCT FROM 'denied'
      AND ($2::text IS NULL OR resource = $2) AND ($3::uuid IS NULL OR actor_id = $3)
      AND ($4::text[] IS NULL OR action = ANY($4))
      AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND ($6::timestamptz IS NULL OR occurred_at < $6)
      AND ($7::timestamptz IS NULL OR (occurred_at, position) < ($7, $8::bigint))
    ORDER BY occurred_at DESC, position DESC
    LIMIT $9
)
UNION ALL
(
    SELECT
        id, position, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id,
        purpose, trace, refusals
    FROM ledger_entries
    WHERE tenant_id = $1 AND on_behalf_of = $11 AND actor_id <> $11
      AND owner_id IS DISTINCT FROM $11 AND outcome = 'allowed'
      AND $10::text IS DISTINCT FROM 'denied'
      AND ($2::text IS NULL OR resource = $2) AND ($3::uuid IS NULL OR actor_id = $3)
      AND ($4::text[] IS NULL OR action = ANY($4))
      AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND ($6::timestamptz IS NULL OR occurred_at < $6)
      AND ($7::timestamptz IS NULL OR (occurred_at, position) < ($7, $8::bigint))
    ORDER BY occurred_at DESC, position DESC
    LIMIT $9
)
ORDER BY occurred_at DESC, position DESC
LIMIT $9;

-- name: find_entry :maybe
SELECT
    id, position, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id, purpose,
    trace, refusals, leaf
FROM ledger_entries
WHERE tenant_id = $1 AND id = $2
  AND ($3::uuid IS NULL OR owner_id = $3 OR ($3 IN (actor_id, on_behalf_of) AND outcome = 'allowed'));

-- name: is_pending :value
SELECT EXISTS (
    SELECT FROM ledger_pending
    WHERE tenant_id = $1 AND id = $2
      AND ($3::uuid IS NULL OR owner_id = $3 OR ($3 IN (actor_id, on_behalf_of) AND outcome = 'allowed'))
);
