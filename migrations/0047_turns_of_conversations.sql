-- Responses of one conversation take turns: one is made at a time, and those that were sent meanwhile wait, in their order.

ALTER TABLE conversations
-- What becomes of a response that is sent while another one is made.
ADD COLUMN if_busy text NOT NULL DEFAULT 'enqueue' CHECK (if_busy IN ('enqueue', 'reject', 'interrupt'));
GRANT UPDATE (if_busy) ON conversations TO undercroft_app;

ALTER TABLE responses
DROP CONSTRAINT responses_status_check,
ADD CONSTRAINT responses_status_check
CHECK (status IN ('queued', 'in_progress', 'completed', 'failed', 'incomplete', 'cancelled'));

ALTER TABLE response_streams
-- The conversation may be gone: whoever waits in it is then told so.
ADD COLUMN conversation_id uuid,
-- Its place among those of the conversation; given by whoever holds the conversation.
ADD COLUMN turn int CHECK (turn >= 1),
ADD COLUMN is_waiting boolean NOT NULL DEFAULT false,
ADD CONSTRAINT response_streams_take_turns CHECK (
    (conversation_id IS NULL) = (turn IS NULL) AND (NOT is_waiting OR turn IS NOT NULL)
);
CREATE UNIQUE INDEX response_streams_by_turn ON response_streams (tenant_id, conversation_id, turn)
WHERE conversation_id IS NOT NULL;
-- Whatever the service does, no two answers are made in one conversation at once.
CREATE UNIQUE INDEX response_streams_one_at_a_time ON response_streams (tenant_id, conversation_id)
WHERE conversation_id IS NOT NULL AND NOT is_waiting AND ended_at IS NULL;

-- Of these, those that wait no longer for one before them: whoever ends tells of it, and that can get lost.
CREATE FUNCTION list_due_turns(response_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT s.response_id
    FROM response_streams AS s
    WHERE s.response_id = ANY(response_ids)
      AND NOT EXISTS (
          SELECT FROM response_streams AS e
          WHERE e.tenant_id = s.tenant_id
            AND e.conversation_id = s.conversation_id
            AND e.turn < s.turn
            AND e.ended_at IS NULL
      )
$$;
REVOKE ALL ON FUNCTION list_due_turns(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_due_turns(uuid[]) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_due_turns(uuid[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;
