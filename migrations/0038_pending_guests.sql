-- How many guests may be invited who have not come: each is a row, a letter and a name in the tenant's lists, made by an
-- address alone. A guest has come once they proved that mail reaches them.

ALTER TABLE users
ADD COLUMN invited_by uuid,
ADD CONSTRAINT users_invited_by_fkey FOREIGN KEY (tenant_id, invited_by) REFERENCES users (tenant_id, id)
ON DELETE SET NULL (invited_by);
CREATE INDEX users_by_inviter ON users (tenant_id, invited_by) WHERE invited_by IS NOT NULL;
CREATE INDEX users_pending_guests ON users (tenant_id, invited_by) WHERE kind = 'guest' AND email_verified_at IS NULL;

-- Whoever acts; nobody, where the operator does.
CREATE FUNCTION note_inviter() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    new.invited_by := (SELECT u.id FROM users AS u WHERE u.tenant_id = new.tenant_id AND u.id = current_principal());
    RETURN new;
END
$$;
REVOKE ALL ON FUNCTION note_inviter() FROM PUBLIC;
CREATE TRIGGER note_inviter BEFORE INSERT ON users
FOR EACH ROW WHEN (new.kind = 'guest') EXECUTE FUNCTION note_inviter();

-- The race: two who invite at once each count what the other has not committed, and both find room for one. So the tenant's
-- guests are locked before they are counted: the second waits until the first has ended, and then sees its guest. After the
-- row is there: one that another has made meanwhile is none, and takes no room. An advisory lock, which nothing else takes,
-- and not the tenant's row: whoever makes a last admin of none holds a user's row and waits for that, and a grant to a guest
-- refers to users' rows.
CREATE FUNCTION bound_pending_guests() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pending guests of ' || new.tenant_id, 0));
    IF new.invited_by IS NOT NULL AND 100 < (
        SELECT count(*) FROM (
            SELECT FROM users AS u
            WHERE u.tenant_id = new.tenant_id AND u.invited_by = new.invited_by
              AND u.kind = 'guest' AND u.email_verified_at IS NULL
            LIMIT 101
        ) AS theirs
    ) THEN
        RAISE EXCEPTION 'too many pending guests of one inviter'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'users_pending_guests_of_inviter';
    END IF;
    IF 1000 < (
        SELECT count(*) FROM (
            SELECT FROM users AS u
            WHERE u.tenant_id = new.tenant_id AND u.kind = 'guest' AND u.email_verified_at IS NULL
            LIMIT 1001
        ) AS everybodys
    ) THEN
        RAISE EXCEPTION 'too many pending guests of the tenant'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'users_pending_guests_of_tenant';
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION bound_pending_guests() FROM PUBLIC;
CREATE TRIGGER bound_pending_guests AFTER INSERT ON users
FOR EACH ROW WHEN (new.kind = 'guest' AND new.email_verified_at IS NULL) EXECUTE FUNCTION bound_pending_guests();
