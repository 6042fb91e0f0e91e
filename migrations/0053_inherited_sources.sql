-- What answers rest on: what those after another one are made from, and whoever has them made.

-- Each document version that a response was made from: which version it is as well, for what the ledger says of those who go
-- on from the response.
CREATE OR REPLACE FUNCTION sources_of_response(wanted uuid) RETURNS jsonb[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT ARRAY(
        SELECT jsonb_build_object(
            'document', s.document_id,
            'version', s.document_version,
            'is_own', EXISTS (
                SELECT FROM documents AS d WHERE d.id = s.document_id AND d.owner_id = current_principal()
            ),
            'ways', ways_to_source(s.document_id, s.document_version)
        )
        FROM (
            SELECT DISTINCT p.document_id, p.document_version
            FROM response_passages AS p
            WHERE p.response_id = wanted
        ) AS s
    )
$$;

-- Which of these do not carry any more what runs: each a document, or NULL for what the grant itself is of, by one grant of
-- those that it is read under, for whom and by which service, and whether it is read as passages, which there are none of
-- once it is sealed. Without a grant it is the reader's own, or in a vector store of theirs by its owner's will. Answers
-- their places. With neither a document nor a grant it is what its reader has made for themselves: it ends with them.
--
-- Whoever reads, or the service that does so for them, must neither be suspended nor removed.
--
-- Having been used up is no reason: that is the last use. Purposes do not change while something runs. A grant goes with
-- what it is of.
CREATE OR REPLACE FUNCTION list_lost_releases(
    holder_ids uuid[], actor_ids uuid[], document_ids uuid[], grant_ids uuid[], are_searched boolean[]
) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT r.place
    FROM unnest(holder_ids, actor_ids, document_ids, grant_ids, are_searched) WITH ORDINALITY
        AS r (holder_id, actor_id, document_id, grant_id, is_searched, place)
    LEFT JOIN documents AS d ON d.id = r.document_id
    LEFT JOIN grants AS g ON g.id = r.grant_id
    WHERE r.document_id IS NOT NULL AND (d.id IS NULL OR d.deleted_at IS NOT NULL OR r.is_searched AND d.is_sealed)
       OR EXISTS (
           SELECT FROM unnest(ARRAY[r.holder_id, r.actor_id]) AS a (id)
           WHERE a.id IS NOT NULL
             AND NOT EXISTS (SELECT FROM users AS u WHERE u.id = a.id AND u.suspended_at IS NULL)
       )
       OR CASE
           WHEN r.grant_id IS NULL THEN d.owner_id <> r.holder_id AND NOT EXISTS (
               SELECT FROM collection_documents AS m
               JOIN collections AS c ON c.id = m.collection_id
               WHERE m.tenant_id = d.tenant_id AND m.document_id = d.id AND m.grant_id IS NULL
                 AND c.owner_id = r.holder_id
           )
           WHEN g.id IS NULL THEN true
           ELSE g.ending <> 'used_up'
               OR g.cut_at IS NOT NULL
               OR g.expires_at <= statement_timestamp()
               -- The grant is of a vector store: the document has to be in it still.
               OR g.collection_id IS NOT NULL AND NOT EXISTS (
                   SELECT FROM collection_documents AS m
                   WHERE m.tenant_id = g.tenant_id AND m.collection_id = g.collection_id AND m.document_id = d.id
               )
               -- It is not the reader's (any more): then the document has to be in a vector store by it.
               OR NOT EXISTS (
                   SELECT FROM users AS u
                   WHERE u.id = r.holder_id AND u.tenant_id = g.tenant_id
                     AND CASE
                         WHEN g.user_id IS NOT NULL THEN g.user_id = u.id
                         WHEN g.group_id IS NULL THEN u.kind IN ('person', 'service')
                         ELSE EXISTS (
                             SELECT FROM group_members AS m
                             WHERE m.tenant_id = g.tenant_id AND m.group_id = g.group_id AND m.user_id = u.id
                         )
                     END
               )
               AND NOT EXISTS (
                   SELECT FROM collection_documents AS m
                   WHERE m.tenant_id = g.tenant_id AND m.grant_id = g.id AND m.document_id = d.id
               )
       END
$$;
