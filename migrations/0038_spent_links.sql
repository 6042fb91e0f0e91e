-- What a link was for is over with its last use, and its tokens with it. What still runs does so in the name of the link's
-- principal and under its grant, not by the token: a last use goes on (list_lost_releases).
DROP TRIGGER revoke_tokens_of_link ON grants;
CREATE TRIGGER revoke_tokens_of_link AFTER UPDATE OF ended_at ON grants
FOR EACH ROW WHEN (old.ended_at IS NULL AND new.ended_at IS NOT NULL) EXECUTE FUNCTION revoke_tokens_of_link();
