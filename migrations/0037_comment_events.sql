-- A comment is told to webhooks as other events are (docs/webhooks.md): that there is one, and nothing of what it says.
CREATE FUNCTION tell_of_comment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM note_event(
        new.tenant_id,
        'comment.created',
        jsonb_build_object('comment', new.id, 'document', new.document_id, 'author', new.author_id)
    );
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tell_of_comment() FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION tell_of_comment() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;
CREATE TRIGGER tell AFTER INSERT ON document_comments FOR EACH ROW EXECUTE FUNCTION tell_of_comment();
