-- Services that act for users: tokens that were exchanged for a user's own, and end with it and with the service's key.

-- So that a foreign key can say whose the key or the token is. Their indexes serve what these two served.
ALTER TABLE api_keys ADD CONSTRAINT api_keys_holder UNIQUE (tenant_id, user_id, id);
DROP INDEX api_keys_by_user;
ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_holder UNIQUE (tenant_id, user_id, id);
DROP INDEX access_tokens_by_user;

-- A token with an actor was exchanged: for one subject, a token or a key of the same user's, by one key of that actor's. It
-- always says what it is narrowed to.
ALTER TABLE access_tokens
ADD COLUMN subject_token_id uuid,
ADD COLUMN subject_key_id uuid,
ADD COLUMN actor_key_id uuid,
ADD CONSTRAINT access_tokens_subject_token
FOREIGN KEY (tenant_id, user_id, subject_token_id) REFERENCES access_tokens (tenant_id, user_id, id) ON DELETE CASCADE,
ADD CONSTRAINT access_tokens_subject_key
FOREIGN KEY (tenant_id, user_id, subject_key_id) REFERENCES api_keys (tenant_id, user_id, id) ON DELETE CASCADE,
ADD CONSTRAINT access_tokens_actor_key
FOREIGN KEY (tenant_id, actor_id, actor_key_id) REFERENCES api_keys (tenant_id, user_id, id) ON DELETE CASCADE,
ADD CONSTRAINT access_tokens_exchanged CHECK (
    CASE
        WHEN actor_id IS NULL THEN num_nonnulls(subject_token_id, subject_key_id, actor_key_id) = 0
        ELSE actor_key_id IS NOT NULL AND num_nonnulls(subject_token_id, subject_key_id) = 1 AND scopes IS NOT NULL
    END
);
CREATE INDEX access_tokens_by_subject_token ON access_tokens (subject_token_id) WHERE subject_token_id IS NOT NULL;
CREATE INDEX access_tokens_by_subject_key ON access_tokens (subject_key_id) WHERE subject_key_id IS NOT NULL;
CREATE INDEX access_tokens_by_actor_key ON access_tokens (actor_key_id) WHERE actor_key_id IS NOT NULL;

-- What is valid now, said once: for those who authenticate and for those who ask whether a token would.
CREATE VIEW live_api_keys WITH (security_invoker = true) AS
SELECT k.id, k.tenant_id, k.user_id, u.kind, u.role, k.scopes, k.key_hash, k.created_at, k.expires_at, u.ledger_salt
FROM api_keys AS k
INNER JOIN users AS u ON k.tenant_id = u.tenant_id AND k.user_id = u.id
WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.suspended_at IS NULL;

-- An exchanged token lives no longer than what it was exchanged for and the key that it was exchanged by. What was itself
-- exchanged is no subject: rights are handed on once.
CREATE VIEW live_access_tokens WITH (security_invoker = true) AS
SELECT
    t.id, t.tenant_id, t.user_id, t.actor_id, u.kind, u.role, t.scopes, t.token_hash, t.created_at, t.expires_at,
    u.ledger_salt
FROM access_tokens AS t
INNER JOIN users AS u ON t.tenant_id = u.tenant_id AND t.user_id = u.id
WHERE t.revoked_at IS NULL
  AND t.expires_at > now()
  AND u.suspended_at IS NULL
  AND (
      t.actor_id IS NULL
      OR (
          EXISTS (SELECT FROM live_api_keys AS a WHERE a.id = t.actor_key_id)
          AND (
              EXISTS (SELECT FROM live_api_keys AS k WHERE k.id = t.subject_key_id)
              OR EXISTS (
                  SELECT FROM access_tokens AS s
                  WHERE s.id = t.subject_token_id
                    AND s.actor_id IS NULL
                    AND s.revoked_at IS NULL
                    AND s.expires_at > now()
              )
          )
      )
  );
GRANT SELECT ON live_api_keys, live_access_tokens TO undercroft_app, undercroft_system;

CREATE OR REPLACE FUNCTION authenticate_api_key(presented_hash bytea)
RETURNS TABLE (
    credential_id uuid, tenant_id uuid, user_id uuid, actor_id uuid, kind text, role text, scopes text[]
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT k.id, k.tenant_id, k.user_id, NULL::uuid, k.kind, k.role, k.scopes
    FROM live_api_keys AS k
    WHERE k.key_hash = presented_hash;
    -- Once a minute is exact enough for people and keeps a busy key from writing on every request. SKIP LOCKED: two
    -- requests with one key must not wait for each other's transaction here.
    UPDATE api_keys SET last_used_at = now()
    WHERE id = (
        SELECT k.id FROM api_keys AS k
        WHERE k.key_hash = presented_hash
          AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute')
        FOR UPDATE SKIP LOCKED
    );
END
$$;

CREATE OR REPLACE FUNCTION authenticate_access_token(presented_hash bytea)
RETURNS TABLE (
    credential_id uuid, tenant_id uuid, user_id uuid, actor_id uuid, kind text, role text, scopes text[]
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT t.id, t.tenant_id, t.user_id, t.actor_id, t.kind, t.role, t.scopes
    FROM live_access_tokens AS t
    WHERE t.token_hash = presented_hash
$$;

-- What a service did for somebody is in their audit, also where it was done with what is another's.
CREATE INDEX ledger_entries_by_user_acted_for ON ledger_entries (tenant_id, on_behalf_of, occurred_at, position)
WHERE on_behalf_of IS NOT NULL;
