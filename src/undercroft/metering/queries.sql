-- name: reserve_usage :many
SELECT kind, period, most_requests, most_tokens, requests, tokens, ends_at, seconds_left
FROM reserve_usage($1, with_exchanged_keys($2), $3, $4, $5);

-- name: reserve_usage_alone :many
SELECT kind, period, most_requests, most_tokens, requests, tokens, ends_at, seconds_left
FROM reserve_usage_alone($1, $2, $3, $4, $5, $6);

-- name: end_usage :value
SELECT end_usage($1, $2, $3, $4, $5);

-- name: end_usage_alone :value
SELECT end_usage($3, $4, $5, $6, $7) FROM enter_scope($1, $2);

-- name: settle_request :value
SELECT settle_request($1);

-- name: list_owed_requests :many
SELECT
    tenant_id,
    id
FROM list_owed_requests($1);

-- name: add_up_usage :value
SELECT add_up_usage($1);

-- name: close_lost_usage :value
SELECT close_lost_usage($1);

-- name: forget_usage :value
SELECT forget_usage($1);

-- name: list_usage :many
-- By day, user and model, from $1 to $2, of one user ($3) or of all, behind a row ($4 to $6) if there is one: what was
-- added up, and what has ended since.
WITH used AS (
    SELECT
        d.day, d.user_id, d.model, d.requests, d.estimated_requests, d.input_tokens, d.output_tokens, d.cached_tokens
    FROM usage_days AS d
    WHERE
        d.tenant_id = current_tenant()
        AND d.day BETWEEN $1::date AND $2::date
        AND ($3::uuid IS NULL OR d.user_id = $3)
    UNION ALL
    SELECT
        (m.reserved_at AT TIME ZONE 'UTC')::date,
        u.id,
        m.model,
        1,
        m.is_estimated::int,
        m.input_tokens,
        m.output_tokens,
        m.cached_tokens
    FROM metered_requests AS m
    LEFT JOIN users AS u ON m.tenant_id = u.tenant_id AND m.user_id = u.id
    WHERE
        m.tenant_id = current_tenant()
        AND m.ended_at IS NOT NULL
        AND (m.reserved_at AT TIME ZONE 'UTC')::date BETWEEN $1::date AND $2::date
        AND ($3::uuid IS NULL OR m.user_id = $3)
)

SELECT
    day,
    user_id,
    model,
    sum(requests)::bigint AS requests,
    sum(estimated_requests)::bigint AS estimated_requests,
    sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(cached_tokens)::bigint AS cached_tokens
FROM used
WHERE
    $4::date IS NULL
    OR day < $4
    OR (
        day = $4
        AND (coalesce(user_id, '00000000-0000-0000-0000-000000000000'), model) > ($5::uuid, $6::text)
    )
GROUP BY day, user_id, model
ORDER BY day DESC, coalesce(user_id, '00000000-0000-0000-0000-000000000000') ASC, model ASC
LIMIT $7;

-- name: list_quotas :many
-- With what was used of each, where that is one count, in a window that is not over.
SELECT
    q.kind,
    q.user_id,
    q.key_id,
    q.period,
    q.most_requests,
    q.most_tokens,
    CASE WHEN q.kind <> 'each_user' THEN coalesce(w.requests, 0) END AS requests,
    CASE WHEN q.kind <> 'each_user' THEN coalesce(w.tokens, 0) END AS tokens
FROM quotas AS q
LEFT JOIN quota_windows AS w
    ON q.tenant_id = w.tenant_id
    AND q.subject_id = w.subject_id
    AND q.period = w.period
    AND w.started_at >= date_trunc(q.period, now(), 'UTC')
WHERE q.tenant_id = current_tenant()
ORDER BY q.kind DESC, q.subject_id ASC, q.period ASC;

-- name: lock_user :value
-- They are there until the transaction ends: whoever removes them waits, and takes the quota along.
SELECT id FROM users WHERE tenant_id = current_tenant() AND id = $1 FOR KEY SHARE;

-- name: lock_key :value
SELECT id FROM api_keys WHERE tenant_id = current_tenant() AND id = $1 FOR KEY SHARE;

-- name: set_quota :exec
INSERT INTO quotas (tenant_id, kind, user_id, key_id, subject_id, period, most_requests, most_tokens)
VALUES (
    current_tenant(),
    $1,
    $2::uuid,
    $3::uuid,
    coalesce($2, $3, current_tenant()),
    $4,
    $5,
    $6
)
ON CONFLICT (tenant_id, subject_id, kind, period) DO UPDATE
SET most_requests = excluded.most_requests, most_tokens = excluded.most_tokens;

-- name: delete_quota :exec
DELETE FROM quotas
WHERE
    tenant_id = current_tenant()
    AND kind = $1
    AND subject_id = coalesce($2::uuid, current_tenant())
    AND period = $3;
