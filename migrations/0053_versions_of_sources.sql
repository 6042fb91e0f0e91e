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
