-- name: insert_job :maybe
-- Both rows or neither, in one statement. Answers no row when a live job has the dedupe key.
WITH job AS (
    INSERT INTO jobs (id, tenant_id, owner_id, kind, payload, dedupe_key, max_attempts)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (tenant_id, kind, dedupe_key) WHERE state IN ('queued', 'running') AND dedupe_key IS NOT NULL
    DO NOTHING
    RETURNING id, kind
)
SELECT job.id, dispatch_job(job.id, job.kind, $8::interval) FROM job;

-- name: find_live_job :value
SELECT id FROM jobs
WHERE tenant_id = $1 AND kind = $2 AND dedupe_key = $3 AND state IN ('queued', 'running');

-- name: find_job :maybe
SELECT
    id, tenant_id, owner_id, kind, payload, dedupe_key, state, attempts, max_attempts, progress_done, progress_total,
    error_code, error_message, created_at, started_at, finished_at
FROM jobs
WHERE tenant_id = $1 AND owner_id = $2 AND id = $3;

-- name: list_jobs :many
SELECT
    id, tenant_id, owner_id, kind, payload, dedupe_key, state, attempts, max_attempts, progress_done, progress_total,
    error_code, error_message, created_at, started_at, finished_at
FROM jobs
WHERE tenant_id = $1 AND owner_id = $2
  AND ($3::text IS NULL OR state = $3)
  AND ($4::uuid IS NULL OR id > $4)
ORDER BY id
LIMIT $5;

-- name: list_dead_jobs :many
SELECT
    id, tenant_id, owner_id, kind, payload, dedupe_key, state, attempts, max_attempts, progress_done, progress_total,
    error_code, error_message, created_at, started_at, finished_at
FROM list_dead_jobs($1, $2);

-- name: retry_dead_job :value
SELECT retry_dead_job($1);

-- name: count_jobs :many
SELECT kind, state, job_count, oldest_at FROM count_jobs();

-- name: claim_job :maybe
SELECT tenant_id, owner_id, kind, payload, fence, attempts, max_attempts FROM claim_job($1);

-- name: lock_job :value
-- The lock is given up by a worker that stalls: PostgreSQL ends a session that idles in this transaction.
SELECT set_config('idle_in_transaction_session_timeout', '5s', true)
FROM jobs
WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running'
FOR UPDATE;

-- name: update_progress :exec
UPDATE jobs SET progress_done = $4, progress_total = $5
WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running';

-- name: complete_job :value
-- The job's end and that of its place in line are one.
WITH job AS (
    UPDATE jobs SET state = 'succeeded', finished_at = now(), error_code = NULL, error_message = NULL
    WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running'
    RETURNING id
), dispatch AS (
    DELETE FROM pgqueuer USING job
    WHERE dedupe_key = job.id::text AND status IN ('queued', 'picked')
)
SELECT id FROM job;

-- name: requeue_job :exec
UPDATE jobs SET state = 'queued', error_code = $4, error_message = $5
WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running';

-- name: release_job :exec
UPDATE jobs SET state = 'queued', attempts = attempts - 1
WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running';

-- name: bury_job :value
WITH job AS (
    UPDATE jobs SET
        state = 'dead', finished_at = now(), attempts = least(attempts, max_attempts),
        error_code = $4, error_message = $5
    WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND state = 'running'
    RETURNING id
), dispatch AS (
    DELETE FROM pgqueuer USING job
    WHERE dedupe_key = job.id::text AND status IN ('queued', 'picked')
)
SELECT id FROM job;

-- name: redispatch_lost_jobs :value
SELECT redispatch_lost_jobs($1);

-- name: prune_jobs :value
SELECT prune_jobs($1);

-- name: delete_dispatch :exec
DELETE FROM pgqueuer WHERE id = $1 AND queue_manager_id = $2;

-- name: requeue_dispatches :exec
UPDATE pgqueuer SET
    status = 'queued', execute_after = now() + $3::interval, updated = now(), attempts = attempts + 1,
    queue_manager_id = NULL
WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2;

-- name: extend_dispatches :exec
UPDATE pgqueuer SET heartbeat = now() WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2;
