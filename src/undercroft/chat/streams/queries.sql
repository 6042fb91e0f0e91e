-- name: insert_stream :exec
-- In a conversation ($5), which the caller has locked: behind all others of it.
INSERT INTO response_streams (
    response_id, tenant_id, principal_id, holder_id, expires_at, sealed_request, conversation_id, is_waiting, turn
)
VALUES (
    $1,
    current_tenant(),
    current_principal(),
    $2,
    now() + $3::interval,
    $4,
    $5,
    $6,
    CASE
        WHEN $5::uuid IS NOT NULL
            THEN (SELECT coalesce(max(s.turn), 0) + 1 FROM response_streams AS s WHERE s.conversation_id = $5)
    END
);

-- name: list_open_turns :many
-- Of a conversation that the caller has locked, so that none is added meanwhile; in the order in which batches of events lock
-- them, for whoever has them end.
SELECT
    response_id,
    principal_id,
    is_waiting
FROM response_streams
WHERE conversation_id = $1 AND ended_at IS NULL
ORDER BY response_id;

-- name: take_turn :value
UPDATE response_streams SET is_waiting = false
WHERE response_id = $1 AND fence = $2 AND ended_at IS NULL
RETURNING response_id;

-- name: list_due_turns :many
SELECT response_id FROM list_due_turns($1) AS response_id;

-- name: append_events :many
SELECT response_id FROM append_events($1, $2, $3, $4, $5, $6) AS response_id;

-- name: tell_turn :exec
-- To those who wait for their turn in a conversation, if there are any.
SELECT pg_notify('response_streams', $2)
WHERE EXISTS (SELECT FROM response_streams AS s WHERE s.conversation_id = $1 AND s.is_waiting AND s.ended_at IS NULL);

-- name: hold_stream :value
SELECT response_id FROM response_streams
WHERE response_id = $1 AND fence = $2 AND ended_at IS NULL
FOR SHARE;

-- name: begin_tool_call :value
-- Counted before it is made, under the lease: a takeover comes before, and nothing is called, or after, and knows of it. NULL
-- where it is another process's, or gone; what counts them in vain has made as many as may be.
UPDATE response_streams SET tool_calls = tool_calls + 1
WHERE response_id = $1 AND fence = $2 AND ended_at IS NULL AND tool_calls < $3
RETURNING tool_calls;

-- name: delete_stream :exec
DELETE FROM response_streams WHERE response_id = $1 AND fence = $2;

-- name: find_stream :maybe
SELECT
    last_number,
    sealed_request,
    is_waiting,
    tool_calls > 0 AS has_called_tools,
    ended_at IS NOT NULL AS is_ended,
    cancel_requested_at IS NOT NULL AS is_cancelled,
    coalesce(watched_until > now(), false) AS is_watched_elsewhere
FROM response_streams
WHERE response_id = $1;

-- name: list_events :many
SELECT
    last_number,
    sealed_events,
    coalesce(previous_number, -1) AS previous_number
FROM response_events
WHERE response_id = $1 AND last_number > $2
ORDER BY last_number
LIMIT $3;

-- name: request_cancel :value
-- NULL where there is nothing to cancel any more.
WITH wanted AS (
    UPDATE response_streams
    SET cancel_requested_at = coalesce(cancel_requested_at, now())
    WHERE response_id = $1 AND ended_at IS NULL
    RETURNING response_id
)

SELECT pg_notify('response_streams', $2)::text FROM wanted;

-- name: renew_leases :many
SELECT
    response_id,
    is_cancelled
FROM renew_stream_leases($1, $2, $3);

-- name: take_over_streams :many
SELECT
    tenant_id,
    principal_id,
    response_id,
    fence
FROM take_over_streams($1, $2, $3);

-- name: release_leases :exec
SELECT release_stream_leases($1, $2);

-- name: attend_streams :many
SELECT
    response_id,
    last_number
FROM attend_streams($1, $2);

-- name: forget_streams :value
SELECT forget_streams($1);
